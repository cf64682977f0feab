/** `npm run docs`: writes docs/api.md. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../cli/program.js'
import { apiPage } from './page.js'

const top = fileURLToPath(new URL('../../../', import.meta.url))
await mkdir(join(top, 'docs'), { recursive: true })
await writeFile(join(top, 'docs/api.md'), apiPage(createProgram(), await readFile(join(top, 'lib/api/views.ts'), 'utf8')))
console.log('docs/api.md is written')
