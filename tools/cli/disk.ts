/** vsky disk … */
import type { Command } from 'commander'
import type { DiskView } from '../../lib/api/views.js'
import { diskStates } from '../../lib/model.js'
import { formatSizeRounded } from '../../lib/units.js'
import { afterOption, given, limitOption, manner, noWaitOption, planOption, watchOption, wordOf } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { waitForMove } from './job.js'
import { describeMove } from './move.js'
import { short, table, toneOf } from './print.js'
import { UsageError } from './settings.js'
import { verb } from './verb.js'

const which = ['<disk>', 'its id, or HOST:DEVICE'] as const
const duties = ['use', 'evacuate', 'failed'] as const
interface ListOptions extends Paging { readonly watch?: Watch; readonly host?: string; readonly state?: string; readonly duty?: string }

export function diskCommands(program: Command, context: () => Context): void {
  const disk = program.command('disk').description('physical disks of storage servers')
  verb(disk, 'add', 'diskAdd').argument('<host>').argument('<device>', 'such as /dev/sdb').option('--force', 'erase what is on it', false).option(...noWaitOption)
    .action(async (host: string, device: string, { force, wait }: { force: boolean; wait: boolean }) => {
      if (!/^\/dev\/[A-Za-z0-9_./:+-]+$/.test(device)) throw new UsageError(`${JSON.stringify(device)} is not the path of a block device (/dev/…)`)
      const { ask, show, confirm } = context()
      if (force) await confirm(`Whatever is on ${host}:${device} will be erased.`)
      show(await ask('diskAdd', { host, device, force, ...manner({ wait }) }), (added) => `${added.host}:${added.device} is disk ${added.id}, ${wait ? formatSizeRounded(added.bytes) : added.state}`)
    })
  verb(disk, 'list', 'diskList').option('--host <host>', 'only those of one host').option('--state <state>', `only ${diskStates.join(' or ')}`).option('--duty <duty>', `only ${duties.join(' or ')}`)
    .option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, host, state, duty, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const filter = given({ host, state: wordOf('--state', state, diskStates), duty: wordOf('--duty', duty, duties) })
      await watching(watch, async () => {
        show(await list('diskList', filter, paging), (disks) => (disks.length === 0 ? 'no disk has been added yet' : table(disks, [
          { title: 'ID', of: (each) => short(each.id), minor: true }, { title: 'HOST', of: (each) => each.host }, { title: 'DEVICE', of: (each) => each.device },
          { title: 'STATE', of: (each) => (each.duty === 'use' ? each.state : `${each.state}, ${each.duty}`), tone: (each) => toneOf(each.duty === 'use' ? each.state : each.duty) },
          { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'FREE', of: (each) => formatSizeRounded(each.freeBytes), right: true },
          { title: 'CLEAN', of: (each) => formatSizeRounded(each.cleanBytes), right: true, minor: true }, { title: 'EXTENTS', of: (each) => String(each.extents), right: true, minor: true },
          { title: 'PROBLEM', of: (each) => each.problem || (each.readErrors > 0 ? `${each.readErrors} read errors` : '-'), elastic: true, tone: (each) => (each.problem === '' ? 'plain' : 'bad') },
        ], look)))
      })
    })
  verb(disk, 'show', 'diskShow').argument(...which).option(...watchOption).action(async (name: string, { watch }: { watch?: Watch }) => {
    const { ask, show, watching } = context()
    await watching(watch, async () => { show(await ask('diskShow', { disk: name }), describeDisk) })
  })
  verb(disk, 'evacuate', 'diskEvacuate', 'diskEvacuationPlan').argument(...which).option(...planOption, false).option('--wait', 'until all has moved').action(async (name: string, { plan, wait }: { plan: boolean; wait?: boolean }) => {
    const { ask, show, look } = context()
    if (plan) show(await ask('diskEvacuationPlan', { disk: name }), (answer) => describeMove(answer, look))
    else {
      const moved = await ask('diskEvacuate', { disk: name })
      const label = `${moved.host}:${moved.device}`
      if (wait === true) await waitForMove(context(), 'evacuate', label)
      show(moved, () => (wait === true ? `${label} is empty` : `${label} is being evacuated: vsky job list shows how far it is`))
    }
  })
  verb(disk, 'fail', 'diskFail', 'diskEvacuationPlan').argument(...which).option(...planOption, false).action(async (name: string, { plan }: { plan: boolean }) => {
    const { ask, show, look, confirm } = context()
    if (plan) return show(await ask('diskEvacuationPlan', { disk: name }), (answer) => describeMove(answer, look))
    await confirm(`All legs on ${name} will count as lost and be made anew elsewhere.`)
    return show(await ask('diskFail', { disk: name }), (failed) => `${failed.host}:${failed.device} counts as lost`)
  })
  verb(disk, 'use', 'diskUse').argument(...which).action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('diskUse', { disk: name }), (used) => `${used.host}:${used.device} is in use`)
  })
  verb(disk, 'remove', 'diskRemove', 'diskShow').argument(...which).option(...planOption, false).option(...noWaitOption).action(async (name: string, { plan, wait }: { plan: boolean; wait: boolean }) => {
    const { ask, show, confirm } = context()
    if (plan) {
      return show(await ask('diskShow', { disk: name }), (found) => [
        `${found.host}:${found.device}, ${formatSizeRounded(found.bytes)}, would no longer be Vsky's, and its label erased; nothing has been changed`,
        ...(found.extents > 0 ? [`it would be refused: it holds ${found.extents} extents (vsky disk evacuate ${found.host}:${found.device})`] : []),
      ].join('\n'))
    }
    await confirm(`The label of ${name} will be erased.`)
    return show(await ask('diskRemove', { disk: name, ...manner({ wait }) }), () => `disk ${name} is no longer Vsky's`)
  })
}

function describeDisk(disk: DiskView): string {
  return [
    `${disk.host}:${disk.device}: ${disk.state}${disk.duty === 'use' ? '' : `, ${disk.duty}`}${disk.problem === '' ? '' : ` (${disk.problem})`}`, `  id       ${disk.id}`, `  zone     ${disk.zone || '-'}`, `  size     ${formatSizeRounded(disk.bytes)}`,
    `  free     ${formatSizeRounded(disk.freeBytes)}, of which clean ${formatSizeRounded(disk.cleanBytes)}`, `  extents  ${disk.extents}`,
  ].join('\n')
}
