/** Gives numbers to what has none yet, before every call: a client then finds whatever there is, however it came to be. */
import type { Cluster } from '../../run/cluster.js'
import { NumbersSpent, giveNumber, numberOfOurs, numbersOfVolume, oursOfNumber, pruneNumbers, unnumbered } from '../../store/classic.js'
import type { Reader } from '../../store/db.js'
import { extentsOf, volumeById } from '../../store/volumes.js'
import type { VolumeRow } from '../../state/rows.js'
import type { ChangeTx } from '../../store/store.js'

export async function numberAll(cluster: Cluster): Promise<void> {
  const missing = await unnumbered(cluster.store.read)
  if (missing.heads.length + missing.servers.length + missing.disks.length + missing.volumes.length === 0) return
  await give(cluster, async (tx) => {
    await pruneNumbers(tx)
    const { heads, servers, disks, volumes } = await unnumbered(tx) // another call may have been here meanwhile
    for (const name of heads) await giveNumber(tx, 'head', name)
    for (const name of servers) await giveNumber(tx, 'server', name)
    for (const id of disks) await giveNumber(tx, 'disk', id)
    for (const { id, segments } of volumes) {
      await giveNumber(tx, 'volume', id, id)
      await giveNumber(tx, 'origin', id, id)
      await giveNumber(tx, 'linear', id, id)
      for (let index = 0; index < segments; index += 1) await giveNumber(tx, 'mirror', `${id} ${index}`, id)
    }
  })
}

/** The numbers of a volume's tree, its extents among them: `what ours` → number. */
export async function numbersOfTree(cluster: Cluster, volume: string): Promise<ReadonlyMap<string, number>> {
  const numbers = await numbersOfVolume(cluster.store.read, volume)
  const fresh = (await extentsOf(cluster.store.read, volume)).filter((extent) => !numbers.has(`extent ${extent.id}`))
  if (fresh.length === 0) return numbers
  await give(cluster, async (tx) => {
    for (const { id } of fresh) if (await numberOfOurs(tx, 'extent', id) === undefined) await giveNumber(tx, 'extent', id, volume)
  })
  return numbersOfVolume(cluster.store.read, volume)
}

async function give(cluster: Cluster, work: (tx: ChangeTx) => Promise<void>): Promise<void> {
  try {
    await cluster.store.change(work)
  } catch (thrown) {
    if (!(thrown instanceof NumbersSpent)) throw thrown
    cluster.log.error('classic clients can\'t be told of all there is', { error: thrown.message }) // what has a number still has it
  }
}

/** The volume with this number. One that is still being made, or gone, has none. */
export async function volumeOfNumber(db: Reader, id: number): Promise<VolumeRow | undefined> {
  const ours = await oursOfNumber(db, 'volume', id)
  const volume = ours === undefined ? undefined : await volumeById(db, ours)
  return volume?.phase === 'creating' ? undefined : volume
}
