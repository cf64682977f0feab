/** vsky disk … */
import type { Command } from 'commander'
import type { DiskView } from '../../lib/api/views.js'
import { formatSizeRounded } from '../../lib/units.js'
import type { Context } from './context.js'
import { describeMove } from './move.js'
import { short, table } from './print.js'
import { UsageError } from './settings.js'

export function diskCommands(program: Command, context: () => Context): void {
  const disk = program.command('disk').description('physical disks of storage servers')
  disk.command('add').description('gives a block device to Vsky; refused when it has a signature or data').argument('<host>').argument('<device>', 'such as /dev/sdb')
    .option('--force', 'erase what is on it', false).action(async (host: string, device: string, { force }: { force: boolean }) => {
      if (!/^\/dev\/[A-Za-z0-9_./:+-]+$/.test(device)) throw new UsageError(`${JSON.stringify(device)} is not the path of a block device (/dev/…)`)
      const { ask, show } = context()
      show(await ask('diskAdd', { host, device, force }), (added) => `${added.host}:${added.device} is disk ${added.id}, ${formatSizeRounded(added.bytes)}`)
    })
  disk.command('list').description('all disks').option('--host <host>', 'only those of one host').action(async ({ host }: { host?: string }) => {
    const { ask, show, width } = context()
    show(await ask('diskList', host === undefined ? {} : { host }), (disks) => (disks.length === 0 ? 'no disk has been added yet' : table(disks, [
      { title: 'ID', of: (each) => short(each.id) }, { title: 'HOST', of: (each) => each.host }, { title: 'DEVICE', of: (each) => each.device }, { title: 'STATE', of: (each) => (each.duty === 'use' ? each.state : `${each.state}, ${each.duty}`) },
      { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'FREE', of: (each) => formatSizeRounded(each.freeBytes), right: true },
      { title: 'CLEAN', of: (each) => formatSizeRounded(each.cleanBytes), right: true }, { title: 'EXTENTS', of: (each) => String(each.extents), right: true }, { title: 'PROBLEM', of: (each) => each.problem || (each.readErrors > 0 ? `${each.readErrors} read errors` : '-'), elastic: true },
    ], width)))
  })
  disk.command('show').description('one disk').argument('<disk>', 'its id, or HOST:DEVICE').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('diskShow', { disk: name }), describeDisk)
  })
  disk.command('evacuate').description('moves all legs away from a disk').argument('<disk>', 'its id, or HOST:DEVICE').option('--plan', 'only tells what it would do', false).action(async (name: string, { plan }: { plan: boolean }) => {
    const { ask, show, width } = context()
    if (plan) show(await ask('diskEvacuationPlan', { disk: name }), (answer) => describeMove(answer, width))
    else show(await ask('diskEvacuate', { disk: name }), (moved) => `${moved.host}:${moved.device} is being evacuated: vsky job list shows how far it is`)
  })
  disk.command('fail').description('counts a disk as lost: its legs are made anew elsewhere').argument('<disk>', 'its id, or HOST:DEVICE').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('diskFail', { disk: name }), (failed) => `${failed.host}:${failed.device} counts as lost`)
  })
  disk.command('use').description('takes a disk into use again; ends its evacuation').argument('<disk>', 'its id, or HOST:DEVICE').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('diskUse', { disk: name }), (used) => `${used.host}:${used.device} is in use`)
  })
  disk.command('remove').description('takes an empty disk back and erases its label').argument('<disk>', 'its id, or HOST:DEVICE').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('diskRemove', { disk: name }), () => `disk ${name} is no longer Vsky's`)
  })
}

function describeDisk(disk: DiskView): string {
  return [
    `${disk.host}:${disk.device}: ${disk.state}${disk.duty === 'use' ? '' : `, ${disk.duty}`}${disk.problem === '' ? '' : ` (${disk.problem})`}`, `  id       ${disk.id}`, `  zone     ${disk.zone || '-'}`, `  size     ${formatSizeRounded(disk.bytes)}`,
    `  free     ${formatSizeRounded(disk.freeBytes)}, of which clean ${formatSizeRounded(disk.cleanBytes)}`, `  extents  ${disk.extents}`,
  ].join('\n')
}
