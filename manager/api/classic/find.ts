/** Finds the volume that a call is about: by number when one is given, else by name. */
import type { Cluster } from '../../run/cluster.js'
import type { VolumeRow } from '../../state/rows.js'
import { findVolume } from '../../store/volumes.js'
import { refusal } from './faults.js'
import { volumeOfNumber } from './ids.js'
import { given, idOf } from './params.js'
import type { Members } from './params.js'

/** `prefix`: of the members' names. A number that is 0, or a name that is empty, counts as not given. */
export async function volumeAskedFor(cluster: Cluster, members: Members, prefix: '' | 'origin_' = ''): Promise<VolumeRow> {
  const [number, name] = [members[`${prefix}lvolid`], members[`${prefix}lvolname`]]
  const db = cluster.store.read
  if (given(number)) {
    const id = idOf(number)
    const volume = id === undefined ? undefined : await volumeOfNumber(db, id)
    if (!volume) throw refusal('ENOENT', `there is no volume ${typeof number === 'string' || typeof number === 'number' ? JSON.stringify(number) : 'of that id'}`)
    return volume
  }
  if (typeof name !== 'string' || name === '') throw refusal('EINVAL', `${prefix}lvolid or ${prefix}lvolname is needed`)
  const volume = await findVolume(db, name)
  if (volume?.name !== name || volume.phase === 'creating') throw refusal('ENOENT', `there is no volume ${JSON.stringify(name)}`)
  return volume
}
