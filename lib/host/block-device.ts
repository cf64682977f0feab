/** Block devices of this host by the kernel's own names. A path in /dev may be a node or a link to one, with udev or without: its number counts. */
import { realpath, stat } from 'node:fs/promises'
import { basename } from 'node:path'

/** `254:3`, from a device node's number. Source: glibc gnu_dev_major(), gnu_dev_minor(). */
export function devnoOf({ rdev }: { readonly rdev: number }): string {
  return `${(rdev >> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`
}

/** `dm-3`, of a path or a number. Rejects for what is not there. Source: Linux Documentation/ABI/stable/sysfs-dev. */
export async function kernelNameOf(device: string): Promise<string> {
  const number = /^\d+:\d+$/.test(device) ? device : devnoOf(await stat(device))
  return basename(await realpath(`/sys/dev/block/${number}`))
}
