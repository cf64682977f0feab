/** Volumes that a head was shut out from before it had let them go, as rows: by them its devices are known when the volume is not there any more. */
import { numberOf, textOf } from './db.js'
import type { Reader, Tx } from './db.js'

export interface Unreleased {
  readonly volume: string
  /** The last attachment that it may have up. */
  readonly attachEpoch: number
}

export async function noteUnreleased(tx: Tx, head: string, { volume, attachEpoch }: Unreleased): Promise<void> {
  await tx.run('insert into unreleased (head, volume, attach_epoch) values (?, ?, ?) on conflict (head, volume) do update set attach_epoch = excluded.attach_epoch', [head, volume, attachEpoch])
}

export async function unreleasedBy(db: Reader, head: string): Promise<readonly Unreleased[]> {
  return (await db.all('select volume, attach_epoch from unreleased where head = ? order by volume', [head])).map((row) => ({ volume: textOf(row, 'volume'), attachEpoch: numberOf(row, 'attach_epoch') }))
}

/** Unless it was shut out from a later attachment meanwhile. */
export async function noteReleased(tx: Tx, head: string, { volume, attachEpoch }: Unreleased): Promise<void> {
  await tx.run('delete from unreleased where head = ? and volume = ? and attach_epoch <= ?', [head, volume, attachEpoch])
}

/** It is no head any more. */
export async function forgetUnreleased(tx: Tx, head: string): Promise<void> {
  await tx.run('delete from unreleased where head = ?', [head])
}
