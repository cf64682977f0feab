/**
 * `npm run bench -- --placement`: what it takes to place the legs of a volume, to place one spare, all those of a lost server, to plan a drain, and to read all disks with what is used of
 * them. All in this process: no kernels, no network. Medians and 90th percentiles, ms. Options: --runs N (50), --volumes N (10000; each of 10 segments with 3 legs, for the
 * disks in the database; SQLite in a temporary folder), --postgres URL (an empty database, read as well).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { planMove } from '../manager/plan/move.js'
import { placeLegs } from '../manager/plan/place-legs.js'
import type { PlaceDisk } from '../manager/plan/place-legs.js'
import { SparePlacer } from '../manager/plan/place-spares.js'
import { planRepair } from '../manager/plan/repair.js'
import type { RepairLeg } from '../manager/plan/repair.js'
import type { Db } from '../manager/store/db.js'
import { allDisks } from '../manager/store/hosts.js'
import { openPostgres } from '../manager/store/postgres.js'
import { parsePostgres } from '../manager/store/postgres-target.js'
import { migrate } from '../manager/store/schema.js'
import { openSqlite } from '../manager/store/sqlite.js'
import { table } from '../tools/cli/print.js'
import { option, quantile } from './figures.js'

const GIB = 1024n ** 3n
const DISKS_EACH = 4
const SEGMENTS = 100
const LEGS = 3
const SEGMENTS_EACH = 10

/** Servers of 4 disks of 4 to 12 TiB that are 30 to 70 % full, in `zones` zones (0: none): the same ones each time. */
function cluster(servers: number, zones: number): readonly PlaceDisk[] {
  let dice = 2912
  const roll = (sides: number): number => {
    dice = (Math.imul(dice, 1664525) + 1013904223) >>> 0
    return (dice >>> 8) % sides
  }
  return Array.from({ length: servers * DISKS_EACH }, (_, index) => {
    const server = Math.floor(index / DISKS_EACH)
    const bytes = 1024n * GIB * BigInt(4 + 4 * roll(3))
    return {
      id: (index + 1).toString(16).padStart(8, '0').repeat(4), host: `st${server}`, zone: zones === 0 ? '' : `z${server % zones}`, state: 'ready', online: true, duty: 'use', bytes,
      freeBytes: bytes * BigInt(30 + roll(41)) / 100n / GIB * GIB, label: `st${server}:/dev/sd${index % DISKS_EACH}`,
    }
  })
}

interface Measured { readonly name: string; readonly times: readonly number[] }

/** Runs it once unmeasured, and gives the time of each later run, ms. */
async function measure(name: string, runs: number, work: () => unknown): Promise<Measured> {
  await work()
  const times: number[] = []
  for (let run = 0; run < runs; run += 1) {
    const from = performance.now()
    await work()
    times.push(performance.now() - from)
  }
  return { name, times }
}

async function planners(runs: number): Promise<readonly Measured[]> {
  const measured: Measured[] = []
  for (const servers of [10, 100, 1000]) {
    for (const zones of [0, 4]) {
      const disks = cluster(servers, zones)
      const where = `${servers} servers${zones === 0 ? '' : ` in ${zones} zones`}`
      const wish = { segments: Array.from({ length: SEGMENTS }, () => 8n * GIB), redundancy: LEGS }
      measured.push(await measure(`${where}: ${SEGMENTS} segments of ${LEGS} legs`, runs, () => placed(wish, disks)))
      measured.push(await measure(`${where}: one spare`, runs, () => placed({ segments: [8n * GIB], redundancy: 1 }, disks, new Set(['st1', 'st2']))))
      measured.push(await measure(`${where}: the loss of one with ${LOST} legs`, Math.ceil(runs / 10), () => { loss(disks, servers) }))
      if (zones > 0) continue
      const legs = Array.from({ length: SEGMENTS }, (_, segment) => ({ volume: 'v', segment, bytes: 8n * GIB, others: ['st1', 'st2'], goodElsewhere: 2, redundant: true }))
      measured.push(await measure(`${where}: the plan of a drain of ${SEGMENTS} legs`, Math.ceil(runs / 5), () => planMove(legs, disks, GIB)))
    }
  }
  return measured
}

const LOST = 30_000

/** What so many segments need that have lost their leg on one server, and where their new legs go. */
function loss(disks: readonly PlaceDisk[], servers: number): void {
  const placer = new SparePlacer(disks.map((disk) => (disk.host === 'st0' ? { ...disk, duty: 'failed' } : disk)))
  const leg = (host: string, slot: number, place: 'here' | 'lost'): RepairLeg => ({ extent: `${slot}`, host, slot, state: place === 'lost' ? 'stale' : 'insync', made: true, place, awayMs: 0, reachable: place === 'here', retryInMs: 0 })
  for (let at = 0; at < LOST; at += 1) {
    const hosts = [`st${1 + at % (servers - 1)}`, `st${1 + (at + 3) % (servers - 1)}`] as const
    const { spares, occupied } = planRepair({ redundancy: LEGS, graceMs: 0, legs: [leg(hosts[0], 0, 'here'), leg(hosts[1], 1, 'here'), leg('st0', 2, 'lost')] })
    if (!placer.place(8n * GIB, spares, new Set(occupied)) && servers > 10) throw new Error('there is room')
  }
}

function placed(...of: Parameters<typeof placeLegs>): void {
  const placement = placeLegs(...of)
  if (placement.kind === 'refused') throw new Error(placement.reason)
}

/** A database with 1,000 servers and so many volumes. */
async function fill(db: Db, volumes: number): Promise<void> {
  await migrate(db)
  const disks = cluster(1000, 0)
  await db.tx(async (tx) => {
    const many = async (into: string, columns: number, rows: readonly (readonly (string | number)[])[]): Promise<void> => {
      const marks = `(${Array.from({ length: columns }, () => '?').join(', ')})`
      for (let from = 0; from < rows.length; from += 500) {
        const chunk = rows.slice(from, from + 500)
        await tx.run(`insert into ${into} values ${chunk.map(() => marks).join(', ')}`, chunk.flat())
      }
    }
    await many('hosts (name, roles, zone, address, data_addresses, initiator, version, boot_id, incarnation, chap_user, chap_password, duty)', 12,
      [...new Set(disks.map((disk) => disk.host))].map((name) => [name, '["storage"]', '', '', '[]', '', '', '', '', '', '', 'use']))
    await many('disks (id, host, device, state, problem, bytes, clean_bytes, force, duty)', 9, disks.map((disk) => [disk.id, disk.host, disk.label, 'ready', '', Number(disk.bytes), 0, 0, 'use']))
    await many('extents (id, disk, host, volume, segment, slot, bytes, lun, state, leg, stale_since, retry_at, doubt)', 13, Array.from({ length: volumes * SEGMENTS_EACH * LEGS }, (_, at) => {
      const disk = disks[(at * 7919) % disks.length]
      const volume = Math.floor(at / SEGMENTS_EACH / LEGS)
      return [at.toString(16).padStart(32, '0'), disk?.id ?? '', disk?.host ?? '', volume.toString(16).padStart(32, 'a'), Math.floor(at / LEGS) % SEGMENTS_EACH, at % LEGS, Number(8n * GIB), at + 1, 'ready', 'insync', 0, 0, 0]
    }))
  })
}

async function reads(runs: number, volumes: number): Promise<readonly Measured[]> {
  const dir = await mkdtemp(join(tmpdir(), 'vsky-bench-'))
  const measured: Measured[] = []
  const read = async (db: Db, engine: string): Promise<void> => {
    try {
      await fill(db, volumes)
      measured.push(await measure(`${engine}: all ${1000 * DISKS_EACH} disks, ${volumes} volumes`, runs, () => allDisks(db)))
      measured.push(await measure(`${engine}: the disks of one server`, runs, () => allDisks(db, 'st7')))
    } finally {
      await db.close()
    }
  }
  try {
    await read(await openSqlite(join(dir, 'db')), 'SQLite')
    const at = process.argv.indexOf('--postgres')
    if (at >= 0) {
      const target = parsePostgres(process.argv[at + 1] ?? '')
      if ('problem' in target) throw new Error(target.problem)
      await read(await openPostgres(target), 'PostgreSQL')
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return measured
}

const [runs, volumes] = [option('runs', 50), option('volumes', 10_000)]
console.log(`Conditions: ${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Node ${process.version}; each ${runs} times (a drain's plan ${Math.ceil(runs / 5)}) after one that is not`)
console.log(`counted; servers of ${DISKS_EACH} disks, 30 to 70 % full; in the database ${volumes} volumes of ${SEGMENTS_EACH} segments with ${LEGS} legs`)
console.log(table([...await planners(runs), ...await reads(runs, volumes)], [
  { title: 'WHAT', of: ({ name }) => name }, { title: 'MEDIAN MS', of: ({ times }) => quantile(times, 0.5).toFixed(2), right: true }, { title: 'P90 MS', of: ({ times }) => quantile(times, 0.9).toFixed(2), right: true },
]))
