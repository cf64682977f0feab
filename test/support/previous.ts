/** The release before this one, as test/support/release.ts wrote it down. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contract } from './contract.js'

const fixtures = fileURLToPath(new URL('../../../test/fixtures', import.meta.url))

/** Its version. */
export const previous = readdirSync(fixtures).sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1) ?? ''
export const previousBackup = join(fixtures, previous, 'database.backup')
export const previousContract = JSON.parse(readFileSync(join(fixtures, previous, 'contract.json'), 'utf8')) as Contract
