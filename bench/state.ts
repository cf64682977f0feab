/**
 * `npm run bench -- --state`: what the manager's state costs, on SQLite and on PostgreSQL, in rounds that alternate between the two. Calls a
 * second that change something (a setting; each is journalled, proves the epoch, writes an event and is on disk when it is answered); and
 * how long a manager needs from its start until it is active with 10,000 volumes. Options: --rounds N (5), --seconds S (2), --volumes N (10000).
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { apiMethods } from '../lib/api/methods.js'
import { table } from '../tools/cli/print.js'
import { PostgresServer } from '../tools/lab/postgres-server.js'
import { median, option } from './figures.js'
import { certify, fill, someCluster, start } from './large.js'
import type { Managed, Place } from './large.js'

async function callsPerSecond({ client }: Managed, callers: number, forS: number): Promise<number> {
  let done = 0
  const until = performance.now() + forS * 1000
  await Promise.all(Array.from({ length: callers }, async () => {
    for (let value = 1; performance.now() < until; value += 1) {
      await client.call(apiMethods.settingSet.name, [{ name: 'repair.grace', value: 60 + value % 100, request: `bench-${randomBytes(8).toString('hex')}` }])
      done += 1
    }
  }))
  return done / forS
}

const [rounds, seconds, volumes] = [option('rounds', 5), option('seconds', 2), option('volumes', 10_000)]
const dir = await mkdtemp(join(tmpdir(), 'vsky-bench-'))
const server = await PostgresServer.create()
const postgresAt = (name: string): Place => ({ dir: join(dir, name), database: `database = "${server.url(name)}"\ndatabase_unreplicated = true` })
try {
  await certify(dir)
  for (const name of ['calls', 'volumes']) await server.sql(`create database ${name}`)
  const places = { calls: [{ dir: join(dir, 'calls-lite'), database: '' }, postgresAt('calls')], volumes: [{ dir: join(dir, 'volumes-lite'), database: '' }, postgresAt('volumes')] }
  const results = { one: [[], []] as [number[], number[]], many: [[], []] as [number[], number[]], start: [[], []] as [number[], number[]] }
  const managers = [] as Managed[]
  for (const place of places.calls) managers.push(await start(dir, place))
  for (let round = 0; round < rounds; round += 1) {
    for (const engine of [0, 1] as const) {
      const manager = managers[engine]
      if (!manager) continue
      results.one[engine].push(await callsPerSecond(manager, 1, seconds))
      results.many[engine].push(await callsPerSecond(manager, 16, seconds))
    }
  }
  for (const manager of managers) await manager.stop()
  await fill(dir, places.volumes, someCluster(volumes))
  for (let round = 0; round < rounds; round += 1) {
    for (const engine of [0, 1] as const) {
      const place = places.volumes[engine]
      if (!place) continue
      const manager = await start(dir, place)
      results.start[engine].push(manager.startS)
      await manager.stop()
    }
  }
  console.log(`State of the manager, ${cpus().length} processors, temporary folder in ${tmpdir()}, PostgreSQL on the same machine; medians of ${rounds} rounds. Each start follows a kill -9.\n`)
  const line = (what: string, [lite, full]: readonly [readonly number[], readonly number[]], unit: (value: number) => string, of = median): readonly string[] => [what, unit(of(lite)), unit(of(full))]
  const perSecond = (value: number): string => `${Math.round(value)}/s`
  const inSeconds = (value: number): string => `${value.toFixed(2)} s`
  console.log(table([
    line('changing calls, one after the other', results.one, perSecond), line('changing calls, 16 callers', results.many, perSecond),
    line(`start until active, ${volumes} volumes`, results.start, inSeconds), line(`  the worst of ${rounds}`, results.start, inSeconds, (values) => Math.max(...values)),
  ], [{ title: 'WHAT', of: ([what]) => what ?? '' }, { title: 'SQLITE', of: ([, value]) => value ?? '', right: true }, { title: 'POSTGRESQL', of: ([, , value]) => value ?? '', right: true }]))
} finally {
  await server.remove()
  await rm(dir, { recursive: true, force: true })
}
