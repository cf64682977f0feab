/** vsky token … and vsky user … */
import type { Command } from 'commander'
import { tokenRoles, userRoles } from '../../lib/api/roles.js'
import { afterOption, given, limitOption, secondsOf, watchOption, wordOf, writeSecret } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { readPassword } from './password.js'
import { moment, table } from './print.js'
import { verb } from './verb.js'

interface ListOptions extends Paging { readonly watch?: Watch; readonly role?: string }
interface TokenOptions { readonly role: string; readonly host?: string; readonly expires?: string; readonly out?: string }

const when = (atMs: number): string => (atMs === 0 ? '-' : moment(atMs))

export function credentialCommands(program: Command, context: () => Context): void {
  tokenCommands(program.command('token').description('what programs are let in by, instead of a certificate'), context)
  userCommands(program.command('user').description('people who are let in by a password, instead of a certificate'), context)
}

function tokenCommands(token: Command, context: () => Context): void {
  verb(token, 'create', 'tokenCreate').argument('<name>').requiredOption('--role <role>', `only ${tokenRoles.join(' or ')}`).option('--host <host>', 'the host of a hypervisor')
    .option('--expires <time>', 'how long it is good for: 90m, 12h, 30d, 1y (default: until it is revoked)').option('--out <file>', 'writes the secret there, readable by nobody else, instead of showing it')
    .action(async (name: string, { role, host, expires, out }: TokenOptions) => {
      const { ask, show } = context()
      const asked = { name, role: wordOf('--role', role, tokenRoles) ?? 'viewer', ...given({ host, ttlSeconds: expires === undefined ? undefined : secondsOf(expires) }) }
      const { token: made, secret } = await ask('tokenCreate', asked)
      const said = `the token ${made.name} is made, for the role ${made.role}${made.host === '' ? '' : ` on ${made.host}`}${made.expiresAt === 0 ? '' : `, until ${when(made.expiresAt)}`}`
      if (out === undefined) return show({ token: made, secret }, () => `${said}; this is its secret, which is never shown again:\n${secret}`)
      await writeSecret(out, secret, `the token ${made.name} is made, but its secret could not be written: revoke it and create another`)
      return show({ token: made, out }, () => `${said}; its secret is in ${out}`)
    })
  verb(token, 'list', 'tokenList').option('--role <role>', `only ${tokenRoles.join(' or ')}`).option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, role, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const filter = given({ role: wordOf('--role', role, tokenRoles) })
      await watching(watch, async () => {
        show(await list('tokenList', filter, paging), (all) => (all.length === 0 ? 'there is no token' : table(all, [
          { title: 'NAME', of: (each) => each.name }, { title: 'ROLE', of: (each) => each.role }, { title: 'HOST', of: (each) => each.host || '-' }, { title: 'ID', of: (each) => each.id, minor: true },
          { title: 'CREATED', of: (each) => when(each.createdAt), minor: true }, { title: 'EXPIRES', of: (each) => (each.expired ? `${when(each.expiresAt)} (expired)` : when(each.expiresAt)), tone: (each) => (each.expired ? 'bad' : 'plain') },
        ], look)))
      })
    })
  verb(token, 'revoke', 'tokenRevoke').argument('<token>', 'its name').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('tokenRevoke', { token: name }), () => `the token ${name} lets nobody in any more`)
  })
}

function userCommands(user: Command, context: () => Context): void {
  verb(user, 'create', 'userCreate').argument('<name>').requiredOption('--role <role>', `only ${userRoles.join(' or ')}`).addHelpText('after', '\nThe password is read from standard input.').action(async (name: string, { role }: { role: string }) => {
    const { ask, show } = context()
    const asked = { name, role: wordOf('--role', role, userRoles) ?? 'viewer' }
    show(await ask('userCreate', { ...asked, password: await readPassword() }), (made) => `the user ${made.name} has the role ${made.role}`)
  })
  verb(user, 'list', 'userList').option('--role <role>', `only ${userRoles.join(' or ')}`).option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, role, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const filter = given({ role: wordOf('--role', role, userRoles) })
      await watching(watch, async () => {
        show(await list('userList', filter, paging), (all) => (all.length === 0 ? 'there is no user' : table(all, [
          { title: 'NAME', of: (each) => each.name }, { title: 'ROLE', of: (each) => each.role }, { title: 'CREATED', of: (each) => when(each.createdAt), minor: true }, { title: 'PASSWORD OF', of: (each) => when(each.changedAt), minor: true },
        ], look)))
      })
    })
  verb(user, 'password', 'userPassword').argument('<user>').addHelpText('after', '\nThe password is read from standard input.').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('userPassword', { user: name, password: await readPassword() }), (now) => `the user ${now.name} has another password`)
  })
  verb(user, 'revoke', 'userRevoke').argument('<user>').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('userRevoke', { user: name }), () => `the user ${name} is let in no more`)
  })
}
