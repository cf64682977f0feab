// Compiles TypeScript into dist/. A fresh dist/ each time the list of sources shrinks would be wrong to skip: a deleted
// test's old JavaScript would still run, so files in dist/ without a source are removed first.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const top = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(top, 'dist')
for (const room of existsSync(dist) ? readdirSync(dist, { recursive: true }) : []) {
  const match = /^(.*)\.js(\.map)?$/.exec(room)
  if (match && !existsSync(join(top, `${match[1]}.ts`))) rmSync(join(dist, room))
}
const built = spawnSync(process.execPath, [join(top, 'node_modules/typescript7/bin/tsc'), '-p', top], { stdio: 'inherit' })
process.exit(built.status ?? 1)
