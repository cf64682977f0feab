/** Events: what changed, in order, for people and followers. */
import type { EventView } from '../../lib/api/views.js'
import { numberOf, textOf } from './db.js'
import type { Reader, Tx } from './db.js'

export async function eventsAfter(db: Reader, after: number, limit: number): Promise<readonly EventView[]> {
  const rows = await db.all('select * from events where seq > ? order by seq limit ?', [after, limit])
  return rows.map((row) => ({
    seq: numberOf(row, 'seq'), atMs: numberOf(row, 'at_ms'), kind: textOf(row, 'kind'), about: textOf(row, 'about'), name: textOf(row, 'name'), text: textOf(row, 'text'),
  }))
}

/** Keeps the newest `keep` events. The newest always stays: its number is where the next one continues. */
export async function pruneEvents(tx: Tx, keep: number): Promise<number> {
  return tx.run('delete from events where seq <= (select max(seq) from events) - ?', [Math.max(1, keep)])
}
