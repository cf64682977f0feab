/**
 * A manager's store that is written to until somebody kills it (manager/store/killed.test.ts): `committer.js FOLDER LIFE`. Takes the next epoch, then
 * commits changes, several at once, and tells of each as soon as it is acknowledged: `epoch N INCARNATION`, then `LIFE-NUMBER`, a line each.
 */
import { writeSync } from 'node:fs'
import { systemClock } from '../../lib/host/clock.js'
import { systemRandom } from '../../lib/host/random.js'
import { finishRequestById, openRequest } from '../../manager/store/requests.js'
import { openDatabase } from '../../manager/store/open.js'
import { claimEpoch, newestEpoch, openStore } from '../../manager/store/store.js'

const [, , stateDir = '', life = ''] = process.argv
/** So many changes wait for their turn at once. */
const FLOWS = 4

const tell = (line: string): void => { writeSync(1, `${line}\n`) }
const db = await openDatabase({ database: { engine: 'sqlite', path: undefined }, stateDir })
const mine = { epoch: await newestEpoch(db) + 1, incarnation: systemRandom.hex(8) }
if (!await claimEpoch(db, mine, 'mgr', systemClock)) throw new Error('nobody else is there who could have been faster')
tell(`epoch ${mine.epoch} ${mine.incarnation}`)
const store = openStore(db, mine, { clock: systemClock })
let number = 0
await Promise.all(Array.from({ length: FLOWS }, async () => {
  for (;;) {
    const id = `${life}-${number += 1}`
    await store.change(async (tx) => {
      await openRequest(tx, { id, method: 'vsky.volume.create', digest: 'd'.repeat(64), about: id, nowMs: systemClock.nowMs() })
      for (const kind of ['begun', 'ended']) await tx.event({ kind, about: 'volume', name: id, text: 'x'.repeat(500) })
      await finishRequestById(tx, id)
    })
    tell(id)
  }
}))
