import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { allMethodNames } from '../../../../lib/api/system.js'
import { faults } from '../../../../lib/faults.js'
import { createProgram } from '../../../../tools/cli/program.js'
import { memberComments } from '../../../../tools/docs/comments.js'
import { apiPage } from '../../../../tools/docs/page.js'

const source = (path: string): Promise<string> => readFile(new URL(`../../../../../${path}`, import.meta.url), 'utf8')

describe('the reference page', () => {
  it('is what the registry, the faults and the commands say now (npm run docs writes it)', async () => {
    const page = await source('docs/api.md')
    expect(page === apiPage(createProgram(), await source('lib/api/views.ts')), 'docs/api.md is out of date: npm run docs').to.equal(true)
    for (const name of allMethodNames) expect(page).to.contain(`### ${name}\n`)
    for (const [name, { code }] of Object.entries(faults)) expect(page).to.contain(`| ${code} | ${name} |`)
  })

  it('takes the meaning of a field from the comment above it', () => {
    const comments = memberComments(`export const a = record({\n  /** One\n   * two. */\n  x: int(),\n  y: int(),\n})\nconst b = {\n  /** Three. */\n  x: int(),\n}\n`)
    expect([...comments]).to.deep.equal([['a.x', 'One two.'], ['b.x', 'Three.']])
  })
})
