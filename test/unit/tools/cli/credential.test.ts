/** The command with a token instead of a certificate, and the commands that make tokens and users, against a manager's real door. */
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { createLog } from '../../../../lib/host/log.js'
import { createRun } from '../../../../lib/host/run.js'
import { TransportError } from '../../../../lib/rpc/client.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import { connectManager } from '../../../../tools/cli/connect.js'
import type { Manager } from '../../../../tools/cli/connect.js'
import { UsageError, placeOf } from '../../../../tools/cli/settings.js'
import { basic, bearer, callWith, makeToken, password } from '../../../support/credentials.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

const command = fileURLToPath(new URL('../../../../tools/cli/main.js', import.meta.url))

describe('vsky with tokens and users', function () {
  this.timeout(120_000) // a dozen processes, each with its own TLS, on a machine that may be busy
  const run = createRun()
  let dir = ''
  let rig: ManagerRig
  /** Who has nothing but the authority's certificate. */
  const bare = (): string => join(dir, 'bare')

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-credential-'))
    rig = await startManager({ servers: 0, volumes: 0 })
    const { ca, cert, key } = rig.tls('admin')
    await mkdir(join(dir, 'admin'))
    await mkdir(bare())
    for (const [path, text] of [['admin/ca.pem', ca], ['admin/cert.pem', cert], ['admin/key.pem', key], ['bare/ca.pem', ca]] as const) await writeFile(join(dir, path), text)
    await makeToken(rig, 'another', 'viewer') // the door stays open to those without certificate when others are revoked
  })
  after(async () => {
    await rig.stop()
    await rm(dir, { recursive: true, force: true })
  })

  async function vsky(args: readonly string[], { env = {}, input = '' }: { readonly env?: Readonly<Record<string, string>>; readonly input?: string } = {}): Promise<{ readonly code: number; readonly out: string; readonly said: string }> {
    const result = await run({ file: process.execPath, args: [command, ...args], input, timeoutMs: 60_000, env: { VSKY_MANAGER: rig.server.url, VSKY_TLS_DIR: join(dir, 'admin'), ...env } })
    return { code: result.exit.kind === 'code' ? result.exit.code : -1, out: result.stdout, said: result.stderr }
  }

  const connected = (tokenFile: string, { manager = rig.server.url, tlsDir = bare() }: { readonly manager?: string; readonly tlsDir?: string } = {}): Promise<Manager> => connectManager({ manager, tlsDir, tokenFile, timeoutMs: 2_000 })
  async function fileOf(name: string, text: string, mode = 0o600): Promise<string> {
    await writeFile(join(dir, name), text)
    await chmod(join(dir, name), mode)
    return join(dir, name)
  }

  it('writes a token\'s secret to a file that nobody else can read, and is let in by that file, without a certificate, until it is revoked', async () => {
    const out = join(dir, 'ci.token')
    const made = await vsky(['token', 'create', 'ci', '--role', 'viewer', '--expires', '30d', '--out', out])
    expect([made.code, made.said]).to.deep.equal([0, ''])
    const text = await readFile(out, 'utf8')
    expect(text).to.match(/^vsky_[0-9a-f]{16}_[0-9a-f]{64}\n$/)
    expect(made.out).to.contain('the token ci is made, for the role viewer').and.not.to.contain(text.trim().slice(-64))
    expect((await stat(out)).mode & 0o777).to.equal(0o600)
    const { createdAt = 0, expiresAt = 0 } = (await rig.call('tokenList', {})).find(({ name }) => name === 'ci') ?? {}
    expect(expiresAt - createdAt).to.equal(30 * 86_400_000)

    expect(await vsky(['--token-file', out, '--tls-dir', bare(), 'volume', 'list', '--json'])).to.deep.equal({ code: 0, out: '[]\n', said: '' })
    const env = { VSKY_TLS_DIR: bare(), VSKY_TOKEN_FILE: out }
    const denied = await vsky(['token', 'list'], { env })
    expect([denied.code, denied.out]).to.deep.equal([7, ''])
    expect(denied.said).to.contain('token "ci"')
    expect((await vsky(['token', 'revoke', 'ci'])).out).to.equal('the token ci lets nobody in any more\n')
    const refused = await vsky(['volume', 'list'], { env })
    expect([refused.code, refused.out]).to.deep.equal([7, ''])
    expect(refused.said).to.contain('not authenticated (fault 1402)')
  })

  it('shows a secret once where no file is named, and lists tokens without theirs', async () => {
    const made = await vsky(['token', 'create', 'kvm1', '--role', 'hypervisor', '--host', 'hd1', '--json'])
    const { token, secret } = JSON.parse(made.out) as { readonly token: Readonly<Record<string, unknown>>; readonly secret: string }
    expect(token).to.include({ name: 'kvm1', role: 'hypervisor', host: 'hd1', expiresAt: 0 })
    expect((await callWith(rig, { authorization: bearer(secret) }, 'vsky.host.show', { host: 'hd1' })).outcome).to.equal('done')
    const { code, out } = await vsky(['token', 'list'])
    expect(code).to.equal(0)
    expect(out).to.match(/^kvm1 +hypervisor +hd1 /m).and.to.match(/^another +viewer +- /m).and.not.to.contain(secret.slice(-64))
  })

  it('takes a password from standard input alone, its first line, and tells it nobody', async () => {
    const made = await vsky(['user', 'create', 'ann', '--role', 'viewer'], { input: `${password}\r\nmore\n` })
    expect(made).to.deep.equal({ code: 0, out: 'the user ann has the role viewer\n', said: '' })
    const before = await rig.state()
    await Promise.all(([['too short\n', '12 to 256'], ['a bell\u0007 is in here\n', 'control characters'], ['x'.repeat(5000), 'too long']] as const).map(async ([input, part]) => {
      const { code, said } = await vsky(['user', 'password', 'ann'], { input })
      expect([input, code]).to.deep.equal([input, 2])
      expect(said).to.contain(part).and.not.to.contain(input.trim())
    }))
    expect(await rig.state()).to.equal(before)
    const lets = async (text: string): Promise<string> => (await callWith(rig, { authorization: basic('ann', text) }, 'vsky.volume.list', {})).outcome
    expect(await lets(password)).to.equal('done')
    expect((await vsky(['user', 'password', 'ann'], { input: 'another long password\n' })).out).to.equal('the user ann has another password\n')
    expect([await lets(password), await lets('another long password')]).to.deep.equal(['not authenticated', 'done'])
    expect((await vsky(['user', 'list'])).out).to.match(/^ann +viewer /m)
    expect((await vsky(['user', 'revoke', 'ann'])).out).to.equal('the user ann is let in no more\n')
    expect(await lets('another long password')).to.equal('not authenticated')
  })

  it('asks nobody when the mistake can be seen here', async () => {
    const before = await rig.state()
    await Promise.all(([
      [['token', 'create', 'x', '--role', 'agent'], '--role takes'], [['user', 'create', 'x', '--role', 'hypervisor'], '--role takes'], [['token', 'create', 'x', '--role', 'viewer', '--expires', '59s'], '--expires takes'],
    ] as const).map(async ([args, part]) => {
      const { code, said } = await vsky(args)
      expect([args, code]).to.deep.equal([args, 2])
      expect(said).to.contain(part)
    }))
    expect(await rig.state()).to.equal(before)
  })

  it('takes no token that is none, or that everybody can read, and repeats nothing of what is in the file', async () => {
    const token = await makeToken(rig, 'careless', 'viewer')
    const refusal = (file: string, more = {}): Promise<string> => connected(file, more).then(() => 'connected', (thrown: unknown) => (thrown instanceof UsageError ? thrown.message : String(thrown)))
    expect(await refusal(await fileOf('good', `${token}\n`))).to.equal('connected')
    expect(await refusal(await fileOf('group', `${token}\n`, 0o640)), 'a group is somebody\'s choice').to.equal('connected')
    expect(await refusal(await fileOf('open', `${token}\n`, 0o644))).to.contain('chmod 600').and.not.to.contain(token.slice(-64))
    expect(await refusal(await fileOf('other', `password of mine\n`))).to.contain('holds no token').and.not.to.contain('of mine')
    expect(await refusal(await fileOf('two', `${token}\n${token}\n`))).to.contain('holds no token')
    expect(await refusal(await fileOf('empty', ''))).to.contain('holds no token')
    expect(await refusal(join(dir, 'none'))).to.contain('cannot read the token').and.to.contain('ENOENT')
    expect(await refusal(join(dir, 'good'), { tlsDir: join(dir, 'nowhere') })).to.contain('no ca.pem in')
    expect(await refusal(''), 'without a token there has to be a certificate').to.contain('no certificate in').and.to.contain('--token-file')
    expect(await refusal('', { tlsDir: join(dir, 'admin') })).to.equal('connected')
  })

  it('tells its token to no server but a manager of this cluster', async () => {
    const file = await fileOf('mine', `${await makeToken(rig, 'mine', 'viewer')}\n`)
    const stranger = await startManager({ servers: 0, volumes: 0 })
    let requests = 0
    const agent = await startRpcServer({
      host: '127.0.0.1', port: 0, tls: rig.tls('agent'), log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 100,
      doorkeeper: { expects: () => true, identify: () => { requests += 1; return Promise.reject(new Fault('not authenticated', '')) } },
      handle: () => { requests += 1; return Promise.resolve([]) },
    })
    try {
      for (const url of [agent.url, stranger.server.url]) {
        const manager = await connected(file, { manager: url })
        expect(await manager.call('volumeList', {}).then(() => 'done', (thrown: unknown) => (thrown instanceof TransportError ? thrown.kind : String(thrown))), url).to.equal('tls')
        manager.close()
      }
      expect(requests).to.equal(0)
      const manager = await connected(file)
      expect(await manager.call('volumeList', {})).to.deep.equal([])
      manager.close()
    } finally {
      await Promise.all([agent.close(), stranger.stop()])
    }
  })

  it('finds its token by its option, then the environment, then its file, and an empty name says that there is none', async () => {
    const path = await fileOf('cli.toml', 'manager = "https://10.0.0.1:8881"\ntls_dir = "/keys"\ntoken_file = "/in/file"\n')
    const tokenOf = async (given: { readonly tokenFile?: string }, env = {}): Promise<string | undefined> => (await placeOf(given, env, path)).tokenFile
    expect(await tokenOf({ tokenFile: '/given' }, { VSKY_TOKEN_FILE: '/in/env' })).to.equal('/given')
    expect(await tokenOf({}, { VSKY_TOKEN_FILE: '/in/env' })).to.equal('/in/env')
    expect(await tokenOf({}, { VSKY_TOKEN_FILE: '' })).to.equal('/in/file')
    expect(await tokenOf({})).to.equal('/in/file')
    expect(await tokenOf({ tokenFile: '' }, { VSKY_TOKEN_FILE: '/in/env' })).to.equal(undefined)
    await writeFile(path, 'manager = "https://10.0.0.1:8881"\ntoken_file = 7\n')
    expect(await tokenOf({}).then(() => '', (thrown: unknown) => String(thrown))).to.contain('token_file: expected a path')
  })
})
