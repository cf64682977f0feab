/** vsky manager … */
import type { Command } from 'commander'
import type { ManagerView } from '../../lib/api/views.js'
import { formatSize } from '../../lib/units.js'
import { takeBackup } from './backup.js'
import type { Context } from './context.js'
import type { Manager } from './connect.js'
import { age, table } from './print.js'
import type { Look } from './print.js'
import { verb } from './verb.js'

/** How long another manager may take to take over before it is told that none did, ms. */
const TAKE_OVER_MS = 15_000

export function managerCommands(program: Command, context: () => Context): void {
  const manager = program.command('manager').description('the managers')
  verb(manager, 'status', 'managerStatus').action(async () => {
    const { withManager, show, look } = context()
    show(await withManager(statusOfActive), (status) => describe(status, look))
  })
  verb(manager, 'hand-over', 'managerHandOver').option('--to <name>', 'this one').action(async ({ to }: { to?: string }) => {
    const { withManager, show, look } = context()
    const status = await withManager(async (at) => {
      const { epoch } = await at.call('managerHandOver', to === undefined ? {} : { to })
      return afterEpoch(at, epoch)
    })
    show(status, (now) => describe(now, look))
  })
  verb(manager, 'backup', 'managerBackup', 'managerBackupPiece', 'managerBackupEnd').argument('<file>', 'a file that does not exist yet; readable by nobody else')
    .description('Writes a backup of the cluster\'s state to a file here, while all goes on: for "vsky-manager restore". It holds secrets')
    .action(async (file: string) => {
      const { withManager, show } = context()
      show(await withManager((at) => takeBackup(at, file, () => statusOfActive(at))), (taken) => `wrote ${taken.file}: ${formatSize(taken.bytes)}, ${taken.rows} rows, the state of ${new Date(taken.madeAt).toISOString()} from ${taken.manager}; whoever can read it can read the cluster's secrets`)
    })
  verb(program.command('lease').description('who may be the active manager'), 'show', 'leaseShow').action(async () => {
    const { ask, show } = context()
    show(await ask('leaseShow', {}), (lease) => `${lease.holder} has epoch ${lease.epoch}, for ${age(Math.max(0, Date.now() - lease.startedAt))}; ${lease.beat} renewals, incarnation ${lease.incarnation}`)
  })
}

/** A standby answers for itself; what it knows of the active one leads there. When that one can't be reached, the standby's answer has to do. */
async function statusOfActive(manager: Manager): Promise<ManagerView> {
  const status = await manager.call('managerStatus', {})
  return status.state === 'standby' ? await manager.callActive('managerStatus', {}, status.address).catch(() => status) : status
}

async function afterEpoch(manager: Manager, epoch: number): Promise<ManagerView> {
  const until = performance.now() + TAKE_OVER_MS
  for (;;) {
    const status = await statusOfActive(manager)
    if ((status.state === 'active' && status.epoch > epoch) || performance.now() > until) return status
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function describe(status: ManagerView, look: Look): string {
  const lease = `renewed ${age(status.leaseAgeMs)} ago, good for ${age(status.ttlMs)}`
  const lines = status.state === 'standby'
    ? [`${status.name}: standby; ${status.holder === '' ? 'no manager is known to be active' : `${status.holder} is active${status.address === '' ? '' : ` at ${status.address}`}`}, epoch ${status.epoch}`, `  lease      ${lease}`, `  version    ${status.version}, schema ${status.schema}`]
    : [
      `${status.name}: ${status.state}, epoch ${status.epoch}, for ${age(Math.max(0, Date.now() - status.startedAt))}`, `  lease      ${lease}`, `  version    ${status.version}, schema ${status.schema}`,
      `  hosts      ${status.hostsOnline} of ${status.hosts} online`, `  volumes    ${status.volumes}`, `  under way  ${status.underWay}`, `  extents    of ${formatSize(status.extentBytes)}`,
    ]
  if (status.managers.length > 1) {
    lines.push('', table(status.managers, [{ title: 'MANAGER', of: (each) => each.name }, { title: 'STATE', of: (each) => each.state }, { title: 'VERSION', of: (each) => each.version }, { title: 'ADDRESS', of: (each) => each.address || '-', elastic: true }], look))
  }
  return lines.join('\n')
}
