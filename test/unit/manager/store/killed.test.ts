import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../../lib/host/clock.js'
import { numberOf, textOf } from '../../../../manager/store/db.js'
import type { Db } from '../../../../manager/store/db.js'
import { openDatabase } from '../../../../manager/store/open.js'
import { EpochLost, newestEpoch, openStore } from '../../../../manager/store/store.js'
import { createDice } from '../../../../tools/thrash/dice.js'
import { failureOf } from '../../../support/engines.js'

/** KILLS=200 for all of them; SEED=N for other moments. */
const [kills, seed] = [Number(process.env['KILLS'] ?? 12), Number(process.env['SEED'] ?? 1)]
const program = new URL('../../../support/committer.js', import.meta.url).pathname
/** Changes that wait for their turn in the program. */
const FLOWS = 4

interface Identity { readonly epoch: number; readonly incarnation: string }
interface Life { readonly identity: Identity | undefined; readonly acknowledged: readonly string[] }

/** Runs it and kills it `ms` after its start, or after its first word. Gives what it had told by then. */
function liveFor(stateDir: string, life: number, ms: number, from: 'start' | 'epoch'): Promise<Life> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, stateDir, String(life)], { stdio: ['ignore', 'pipe', 'pipe'] })
    let [told, complained, armed] = ['', '', false]
    const arm = (): void => {
      if (!armed) setTimeout(() => { child.kill('SIGKILL') }, ms)
      armed = true
    }
    if (from === 'start') arm()
    child.stderr.on('data', (chunk: Buffer) => { complained += chunk.toString() })
    child.stdout.on('data', (chunk: Buffer) => {
      told += chunk.toString()
      arm()
    })
    child.once('close', (code, signal) => {
      if (signal !== 'SIGKILL') {
        reject(new Error(`life ${life} ended by itself (${code}): ${complained}`))
        return
      }
      const lines = told.split('\n').slice(0, -1)
      const [, epoch, incarnation = ''] = /^epoch (\d+) (\w+)$/.exec(lines[0] ?? '') ?? []
      resolve({ identity: epoch === undefined ? undefined : { epoch: Number(epoch), incarnation }, acknowledged: lines.slice(1) })
    })
  })
}

/** Each change is there with all that belongs to it, or not at all. Gives the ids of those that are there. */
async function wholeChanges(db: Db): Promise<ReadonlySet<string>> {
  expect((await db.all('pragma integrity_check')).map((row) => Object.values(row))).to.deep.equal([['ok']])
  expect(await db.all('pragma foreign_key_check')).to.deep.equal([])
  const events = new Map<string, string[]>()
  for (const row of await db.all('select seq, kind, name from events order by seq')) events.set(textOf(row, 'name'), [...events.get(textOf(row, 'name')) ?? [], textOf(row, 'kind')])
  const requests = await db.all('select id, state from requests')
  for (const row of requests) expect([textOf(row, 'state'), events.get(textOf(row, 'id'))], textOf(row, 'id')).to.deep.equal(['done', ['begun', 'ended']])
  expect(events.size).to.equal(requests.length)
  const { count, last } = await db.get('select count(*) as count, coalesce(max(seq), 0) as last from events') ?? {}
  expect(count, 'events follow each other without a gap').to.equal(last)
  return new Set(requests.map((row) => textOf(row, 'id')))
}

describe('a store whose manager is killed while SQLite writes', () => {
  it(`has every change that was acknowledged, none by half, and a newer epoch for each manager (${kills} kills, seed ${seed})`, async () => {
    const dice = createDice(seed, 200)
    const stateDir = await mkdtemp(join(tmpdir(), 'vsky-killed-'))
    const identities: Identity[] = []
    const acknowledged = new Set<string>()
    let before: ReadonlySet<string> = new Set()
    try {
      for (let life = 1; life <= kills; life += 1) {
        const lived = await (dice.chance(0.15) ? liveFor(stateDir, life, dice.between(20, 200), 'start') : liveFor(stateDir, life, dice.next() * 40, 'epoch'))
        for (const id of lived.acknowledged) acknowledged.add(id)
        const db = await openDatabase({ database: { engine: 'sqlite', path: undefined }, stateDir })
        try {
          const there = await wholeChanges(db)
          expect([...acknowledged].filter((id) => !there.has(id)), 'acknowledged and missing').to.deep.equal([])
          const fresh = [...there].filter((id) => !before.has(id))
          expect(fresh.every((id) => id.startsWith(`${life}-`)), 'nothing of an older life appears').to.equal(true)
          expect(fresh.length - lived.acknowledged.length, 'done, and nobody was told').to.be.within(0, FLOWS)
          before = there
          const epoch = await newestEpoch(db)
          if (lived.identity) {
            expect(epoch).to.equal(lived.identity.epoch)
            expect(epoch).to.be.greaterThan(identities.at(-1)?.epoch ?? 0)
            identities.push(lived.identity)
          } else expect(epoch).to.be.within(identities.at(-1)?.epoch ?? 0, life)
        } finally {
          await db.close()
        }
      }
      expect(acknowledged.size).to.be.greaterThan(kills)
      const db = await openDatabase({ database: { engine: 'sqlite', path: undefined }, stateDir })
      try {
        const rows = numberOf(await db.get('select count(*) as count from events') ?? {}, 'count')
        for (const old of identities.slice(0, -1)) expect(await failureOf(openStore(db, old, { clock: systemClock }).change((tx) => tx.event({ kind: 'late', about: 'manager', name: 'mgr', text: '' })))).to.be.instanceOf(EpochLost)
        expect(numberOf(await db.get('select count(*) as count from events') ?? {}, 'count')).to.equal(rows)
      } finally {
        await db.close()
      }
    } finally {
      await rm(stateDir, { recursive: true })
    }
  }).timeout(60_000 + kills * 10_000)
})
