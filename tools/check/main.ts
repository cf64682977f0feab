/** `npm run layers`: holds the sources against the arrows of the house. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkLayers } from './layers.js'
import { checkPages } from './pages.js'

const rooms = ['lib', 'manager', 'agent', 'tools', 'bench', 'test']
const sources = rooms.flatMap((room) => {
  try {
    return readdirSync(room, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts')).map((path) => join(room, path)).map((path) => ({ path, text: readFileSync(path, 'utf8') }))
  } catch {
    return [] // a room that isn't there yet
  }
})
const pages = readdirSync('.').filter((path) => path.endsWith('.md')).map((path) => ({ path, text: readFileSync(path, 'utf8') }))
const offences = [...checkLayers(sources), ...checkPages(pages, existsSync)]
for (const { path, line, why } of offences) console.error(`${path}:${line}: ${why}`)
if (offences.length > 0) process.exit(1)
console.log(`${sources.length} files keep the arrows of the house, ${pages.length} pages name only what is there`)
