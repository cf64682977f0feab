/** The name under which a volume is found: /dev/vsky/NAME, a symbolic link to its device. A link that leads elsewhere is not ours. */
import { mkdir, readdir, readlink, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import { nameOf } from '../dm/table.js'
import { LINKS } from './look.js'

/** Throws `foreign object` when something else stands at that name. */
export async function refuseForeignLink(volume: string, name: string): Promise<void> {
  const path = join(LINKS, name)
  const now = await readlink(path).catch((thrown: unknown) => (isErrno(thrown, 'ENOENT') ? undefined : 'no link'))
  if (now !== undefined && now !== deviceOf(volume)) throw new Fault('foreign object', `${path} is there already (${now})`)
}

/** Makes the link, or finds it made. Throws `foreign object` as above. */
export async function makeLink(volume: string, name: string): Promise<void> {
  await mkdir(LINKS, { recursive: true })
  try {
    await symlink(deviceOf(volume), join(LINKS, name))
  } catch (thrown) {
    if (!isErrno(thrown, 'EEXIST')) throw thrown
    await refuseForeignLink(volume, name)
  }
}

/** Removes every link to this volume, whatever its name: the record that knew the name may be lost. */
export async function removeLinks(volume: string): Promise<void> {
  for (const name of await readdir(LINKS).catch(() => [])) {
    const path = join(LINKS, name)
    if (await readlink(path).catch(() => '') === deviceOf(volume)) await unlink(path)
  }
}

function deviceOf(volume: string): string {
  return `/dev/mapper/${nameOf(volume, 'top')}`
}
