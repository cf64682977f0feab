/** vsky host … */
import type { Command } from 'commander'
import type { HostView } from '../../lib/api/views.js'
import type { Context } from './context.js'
import { describeMove } from './move.js'
import { age, table } from './print.js'

export function hostCommands(program: Command, context: () => Context): void {
  const host = program.command('host').description('storage servers and head servers')
  host.command('list').description('all hosts').action(async () => {
    const { ask, show, width } = context()
    show(await ask('hostList', {}), (hosts) => (hosts.length === 0 ? 'no host has registered yet' : table(hosts, [
      { title: 'NAME', of: (each) => each.name }, { title: 'ROLES', of: (each) => each.roles.join('+') }, { title: 'STATE', of: (each) => (each.duty === 'use' ? each.state : `${each.state}, ${each.duty}`) },
      { title: 'SEEN', of: (each) => `${age(each.lastSeenMs)} ago` }, { title: 'ZONE', of: (each) => each.zone || '-' }, { title: 'DISKS', of: (each) => String(each.disks), right: true },
      { title: 'ATTACHED', of: (each) => each.attached.join(' ') || '-', elastic: true }, { title: 'FOREIGN', of: (each) => String(each.foreign.length), right: true },
    ], width)))
  })
  host.command('show').description('one host, with what Vsky did not make on it').argument('<host>').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('hostShow', { host: name }), describeHost)
  })
  host.command('drain').description('moves all legs away from a storage server; a head must have nothing attached').argument('<host>').option('--plan', 'only tells what it would do', false).action(async (name: string, { plan }: { plan: boolean }) => {
    const { ask, show, width } = context()
    if (plan) show(await ask('hostDrainPlan', { host: name }), (answer) => describeMove(answer, width))
    else show(await ask('hostDrain', { host: name }), (drained) => `${drained.name} is being drained: vsky job list shows how far it is`)
  })
  host.command('fail').description('counts a host as lost: its legs are made anew elsewhere, its volumes are taken from it').argument('<host>').option('--force', 'though it answers', false).action(async (name: string, { force }: { force: boolean }) => {
    const { ask, show } = context()
    show(await ask('hostFail', { host: name, force }), (failed) => `${failed.name} counts as lost`)
  })
  host.command('use').description('takes a host into use again; ends its drain').argument('<host>').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('hostUse', { host: name }), (used) => `${used.name} is in use`)
  })
}

function describeHost(host: HostView): string {
  const lines = [
    `${host.name}: ${host.state}${host.duty === 'use' ? '' : `, ${host.duty}`}, heard ${age(host.lastSeenMs)} ago`, `  roles      ${host.roles.join(', ')}`, `  zone       ${host.zone || '-'}`, `  agent      ${host.address}, version ${host.version}`,
    `  data       ${host.dataAddresses.join(', ') || '-'}`, `  initiator  ${host.initiator}`, `  boot       ${host.bootId}`, `  disks      ${host.disks}`, `  attached   ${host.attached.join(', ') || '-'}`,
  ]
  if (host.foreign.length > 0) lines.push('  not made by Vsky, never touched:', ...host.foreign.map((each) => `    ${each.what} ${each.name}: ${each.why}`))
  return lines.join('\n')
}
