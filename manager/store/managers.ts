/** Managers that are there, as rows that they keep moving. No time stands in them: each watches the others by its own clock. */
import { numberOf, textOf } from './db.js'
import type { Db, Reader } from './db.js'

export interface ManagerRow {
  readonly name: string
  readonly address: string
  readonly version: string
  readonly beat: number
}

export async function announceManager(db: Db, { name, address, version }: Omit<ManagerRow, 'beat'>): Promise<void> {
  await db.tx((tx) => tx.run(
    'insert into managers (name, address, version, beat) values (?, ?, ?, 1) on conflict (name) do update set address = excluded.address, version = excluded.version, beat = managers.beat + 1',
    [name, address, version],
  ))
}

export async function allManagers(db: Reader): Promise<readonly ManagerRow[]> {
  return (await db.all('select * from managers order by name')).map((row) => ({ name: textOf(row, 'name'), address: textOf(row, 'address'), version: textOf(row, 'version'), beat: numberOf(row, 'beat') }))
}

/** Only if it has not moved since. */
export async function forgetManager(db: Db, { name, beat }: ManagerRow): Promise<void> {
  await db.tx((tx) => tx.run('delete from managers where name = ? and beat = ?', [name, beat]))
}
