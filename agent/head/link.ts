/**
 * The names under which a volume is found: /dev/vsky/NAME, and for clients of the original API /dev/vas/NAME and /dev/vas/lvol-… too. Each is a
 * symbolic link to its device. A link that leads elsewhere is not ours.
 */
import { mkdir, readdir, readlink, symlink, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { nameOf } from '../dm/table.js'

export type Named = Pick<VolumeWanted, 'volume' | 'name' | 'classic'>

const places = ['vsky', 'vas'] as const

function linksOf({ name, classic }: Named, dev: string): readonly string[] {
  const own = join(dev, 'vsky', name)
  return classic === undefined ? [own] : [own, join(dev, 'vas', name), join(dev, 'vas', classic)]
}

/** Throws `foreign object` when something else stands at one of its names. `dev`: where devices are. */
export async function refuseForeignLinks(wanted: Named, dev = '/dev'): Promise<void> {
  for (const path of linksOf(wanted, dev)) {
    const now = await readlink(path).catch((thrown: unknown) => (isErrno(thrown, 'ENOENT') ? undefined : 'no link'))
    if (now !== undefined && now !== deviceOf(wanted.volume)) throw new Fault('foreign object', `${path} is there already (${now})`)
  }
}

/**
 * Makes the links, or finds them made. Throws `foreign object` when its own name is taken. A classic one that somebody took while the volume was up
 * is left to him: no order may fail for it, for writes may wait for what is ordered.
 */
export async function makeLinks(wanted: Named, dev = '/dev'): Promise<void> {
  for (const path of linksOf(wanted, dev)) {
    await mkdir(dirname(path), { recursive: true })
    try {
      await symlink(deviceOf(wanted.volume), path)
    } catch (thrown) {
      if (!isErrno(thrown, 'EEXIST')) throw thrown
      await refuseForeignLinks({ volume: wanted.volume, name: wanted.name }, dev)
    }
  }
}

/** Removes every link to this volume, whatever its name: the record that knew the name may be lost. */
export async function removeLinks(volume: string, dev = '/dev'): Promise<void> {
  for (const place of places) {
    for (const name of await readdir(join(dev, place)).catch(() => [])) {
      const path = join(dev, place, name)
      if (await readlink(path).catch(() => '') === deviceOf(volume)) await unlink(path)
    }
  }
}

function deviceOf(volume: string): string {
  return `/dev/mapper/${nameOf(volume, 'top')}`
}
