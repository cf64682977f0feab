/** Events: what changed, in order, for people and followers. */
import type { EventView } from '../../lib/api/views.js'
import { numberOf, textOf } from './db.js'
import type { Reader, Tx } from './db.js'

/** `kind`: its beginning. */
export interface EventFilter {
  readonly about?: string | undefined
  readonly name?: string | undefined
  readonly kind?: string | undefined
  /** The last ones instead of the first. */
  readonly newest?: boolean | undefined
}

export async function eventsAfter(db: Reader, after: number, limit: number, { about, name, kind, newest = false }: EventFilter = {}): Promise<readonly EventView[]> {
  const rows = await db.all(
    `select * from events where seq > ? and (cast(? as text) is null or about = ?) and (cast(? as text) is null or name = ?) and (cast(? as text) is null or substr(kind, 1, ?) = ?) order by seq ${newest ? 'desc' : 'asc'} limit ?`,
    [after, about ?? null, about ?? null, name ?? null, name ?? null, kind ?? null, kind === undefined ? 0 : [...kind].length, kind ?? null, limit])
  return (newest ? [...rows].reverse() : rows).map((row) => ({
    seq: numberOf(row, 'seq'), atMs: numberOf(row, 'at_ms'), kind: textOf(row, 'kind'), about: textOf(row, 'about'), name: textOf(row, 'name'), text: textOf(row, 'text'),
  }))
}

/** The number of the last event; 0 when there is none. */
export async function newestEvent(db: Reader): Promise<number> {
  return numberOf(await db.get('select coalesce(max(seq), 0) as seq from events') ?? {}, 'seq')
}

/** Keeps the newest `keep` events. The newest always stays: its number is where the next one continues. */
export async function pruneEvents(tx: Tx, keep: number): Promise<number> {
  return tx.run('delete from events where seq <= (select max(seq) from events) - ?', [Math.max(1, keep)])
}
