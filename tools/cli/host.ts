/** vsky host … */
import type { Command } from 'commander'
import type { HostView } from '../../lib/api/views.js'
import { hostRoles } from '../../lib/model.js'
import { afterOption, given, limitOption, planOption, secondsOf, watchOption, wordOf, writeSecret } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { waitForMove } from './job.js'
import { describeMove } from './move.js'
import { age, moment, table, toneOf } from './print.js'
import { verb } from './verb.js'

const duties = ['use', 'drain', 'failed'] as const
interface ListOptions extends Paging { readonly watch?: Watch; readonly prefix?: string; readonly role?: string; readonly state?: string; readonly duty?: string }

export function hostCommands(program: Command, context: () => Context): void {
  const host = program.command('host').description('storage servers and head servers')
  verb(host, 'list', 'hostList').option('--prefix <text>', 'only names that begin so').option('--role <role>', `only ${hostRoles.join(' or ')}`).option('--state <state>', 'only online or offline')
    .option('--duty <duty>', `only ${duties.join(' or ')}`).option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, prefix, role, state, duty, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const filter = given({ prefix, role: wordOf('--role', role, hostRoles), state: wordOf('--state', state, ['online', 'offline']), duty: wordOf('--duty', duty, duties) })
      await watching(watch, async () => {
        show(await list('hostList', filter, paging), (hosts) => (hosts.length === 0 ? 'no host has registered yet' : table(hosts, [
          { title: 'NAME', of: (each) => each.name }, { title: 'ROLES', of: (each) => each.roles.join('+') },
          { title: 'STATE', of: (each) => (each.duty === 'use' ? each.state : `${each.state}, ${each.duty}`), tone: (each) => toneOf(each.duty === 'use' ? each.state : each.duty) },
          { title: 'SEEN', of: (each) => `${age(each.lastSeenMs)} ago`, minor: true }, { title: 'ZONE', of: (each) => each.zone || '-', minor: true }, { title: 'DISKS', of: (each) => String(each.disks), right: true, minor: true },
          { title: 'ATTACHED', of: (each) => each.attached.join(' ') || '-', elastic: true }, { title: 'FOREIGN', of: (each) => String(each.foreign.length), right: true, minor: true },
        ], look)))
      })
    })
  verb(host, 'show', 'hostShow').argument('<host>').option(...watchOption).action(async (name: string, { watch }: { watch?: Watch }) => {
    const { ask, show, watching } = context()
    await watching(watch, async () => { show(await ask('hostShow', { host: name }), describeHost) })
  })
  verb(host, 'invite', 'hostInvite').argument('<name>').option('--expires <time>', 'how long it is good for: 90m, 12h, 7d', '1h').option('--out <file>', 'writes the invitation there, readable by nobody else, instead of showing it')
    .action(async (name: string, { expires, out }: { readonly expires: string; readonly out?: string }) => {
      const { ask, show } = context()
      const { invitation, ...made } = await ask('hostInvite', { name, ttlSeconds: secondsOf(expires) })
      const next = (file: string): string => `${name} may join once until ${moment(made.expiresAt)}; on it, as root: vsky-agent join --name ${name} --roles storage --listen ADDRESS:8882 --data-addresses ADDRESS ${file}`
      if (out === undefined) return show({ ...made, invitation }, () => `${next('(and this line to its input)')}\n${invitation}`)
      await writeSecret(out, invitation, 'the invitation could not be written, make another')
      return show({ ...made, out }, () => next(`--invitation ${out}`))
    })
  verb(host, 'revoke', 'hostRevoke').argument('<name>').action(async (name: string) => {
    const { ask, show, confirm } = context()
    await confirm(`The agent of ${name} will be let in by no certificate any more; what it serves goes on.`)
    show(await ask('hostRevoke', { name }), () => `the certificates of ${name} are revoked`)
  })
  verb(host, 'drain', 'hostDrain', 'hostDrainPlan').argument('<host>').option(...planOption, false).option('--wait', 'until all has moved').action(async (name: string, { plan, wait }: { plan: boolean; wait?: boolean }) => {
    const { ask, show, look } = context()
    if (plan) show(await ask('hostDrainPlan', { host: name }), (answer) => describeMove(answer, look))
    else {
      const drained = await ask('hostDrain', { host: name })
      if (wait === true) await waitForMove(context(), 'drain', drained.name)
      show(drained, () => (wait === true ? `${drained.name} is drained` : `${drained.name} is being drained: vsky job list shows how far it is`))
    }
  })
  verb(host, 'fail', 'hostFail', 'hostDrainPlan').argument('<host>').option('--force', 'though it answers', false).option(...planOption, false)
    .action(async (name: string, { force, plan }: { force: boolean; plan: boolean }) => {
      const { ask, show, look, confirm } = context()
      if (plan) return show(await ask('hostDrainPlan', { host: name }), (answer) => describeMove(answer, look))
      await confirm(`All legs on ${name} will count as lost and be made anew elsewhere; volumes attached to it are taken from it.`)
      return show(await ask('hostFail', { host: name, force }), (failed) => `${failed.name} counts as lost`)
    })
  verb(host, 'use', 'hostUse').argument('<host>').action(async (name: string) => {
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
