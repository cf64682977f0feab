/** Nobody without a right gets at data or at the manager, though he knows names, addresses and what went over the wire. */
import { expect } from 'chai'
import { apiMethods } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { loadTls } from '../../lib/host/pki.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import { leftovers, startWriter } from '../../tools/lab/trial.js'
import { attach, create, detach, dist, eventually, remove, useLab } from './cluster.js'

describe('strangers, on real kernels', () => {
  const lab = useLab('t-security', { diskBytes: 640n * 1024n ** 2n })
  const shell = (host: string, text: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> => lab().exec(host, ['bash', '-c', text], { timeoutMs: 60_000 })
  /** A call with the certificate that a host had when the lab was made. */
  async function callAs(host: string, method: string, params: Parameters<ReturnType<typeof createRpcClient>['call']>[1]): Promise<string> {
    const client = createRpcClient({ url: lab().managerUrls[0] ?? '', tls: await loadTls(lab().tlsDirOf(host)) })
    try {
      await client.call(method, params, { timeoutMs: 10_000 })
      return 'done'
    } catch (thrown) {
      return thrown instanceof Fault ? thrown.fault : 'hung up'
    } finally {
      client.close()
    }
  }

  it('a head that takes another head\'s name, and does not know its secret, is let in by no server; the other one\'s writes do not notice', async () => {
    const volume = await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    const server = lab().host(volume.segments[0]?.legs[0]?.host ?? '')
    const target = `-T iqn.2026-11.io.vsky:storage.${server.name} -p ${server.dataAddress}:3260`
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    const made = await shell('hd2', `set -e; iscsiadm -m iface -I thief --op new; iscsiadm -m iface -I thief --op update -n iface.transport_name -v tcp
      iscsiadm -m iface -I thief --op update -n iface.initiatorname -v iqn.2026-11.io.vsky:host.hd1; iscsiadm -m node ${target} -I thief --op new`)
    expect(made.code, made.stderr).to.equal(0)
    const setting = (name: string, value: string): Promise<unknown> => lab().must('hd2', ['bash', '-c', `iscsiadm -m node ${target} -I thief --op update -n ${name} -v ${value}`])
    await setting('node.session.initial_login_retry_max', '1')
    for (const [method, password] of [['None', ''], ['CHAP', 'a1b2c3d4e5f60718']] as const) {
      await setting('node.session.auth.authmethod', method)
      if (password !== '') await setting('node.session.auth.username', 'hd1')
      if (password !== '') await setting('node.session.auth.password', password)
      const login = await shell('hd2', `iscsiadm -m node ${target} -I thief --login`)
      expect([login.code, login.stderr], method).to.satisfy(([code, text]: [number, string]) => code !== 0 && /authorization|auth/i.test(text))
      expect((await shell('hd2', 'cat /sys/class/iscsi_session/*/targetname')).stdout).to.equal('')
    }
    await shell('hd2', `iscsiadm -m node ${target} -I thief --op delete; iscsiadm -m iface -I thief --op delete`)
    const written = await writer.stop()
    expect(written.error).to.equal('')
    // LIO ends a session of the same name and ISID before it refuses whoever skips the security stage (iscsi_target_handle_csg_one() of Linux 6.1), and open-iscsi's ISIDs count from 1: the head then logs in again.
    expect(written.longestMs).to.be.lessThan(3000)
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('a head that looks for every LUN there is finds those of its own volumes and no others', async () => {
    const mine = await create(lab(), 'mine', '64MiB', 3)
    await create(lab(), 'other', '64MiB', 3)
    await attach(lab(), 'mine', 'hd1')
    await attach(lab(), 'other', 'hd2')
    await lab().must('hd1', ['bash', '-c', 'for s in /sys/class/iscsi_session/session*; do d=$(realpath $s/device); h=$(sed "s,.*/\\(host[0-9]*\\)/.*,\\1,;s,.*/\\(host[0-9]*\\)$,\\1," <<< $d); echo "- - -" > /sys/class/scsi_host/$h/scan; done; sleep 2'])
    const serials = (await lab().must('hd1', ['bash', '-c', 'for p in /sys/class/iscsi_session/session*/device/target*/*/vpd_pg80; do tail -c +5 $p | tr -d "\\0 "; echo; done'])).split('\n').filter((line) => line !== '')
    expect(serials.sort()).to.deep.equal(mine.segments.flatMap((segment) => segment.legs.map((leg) => leg.extent)).sort())
    for (const name of ['mine', 'other']) {
      await detach(lab(), name)
      await remove(lab(), name)
    }
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })

  it('the certificate of an agent opens nothing of a person\'s, no other host\'s name, and no other agent', async () => {
    const heartbeat = { name: 'hd2', bootId: 'x', incarnation: 'x', changed: 0 }
    expect(await callAs('hd1', apiMethods.volumeList.name, [{}])).to.equal('denied')
    expect(await callAs('hd1', apiMethods.hostHeartbeat.name, [heartbeat])).to.equal('denied')
    const body = '<?xml version="1.0"?><methodCall><methodName>agent.observe</methodName><params><param><value><struct/></value></param></params></methodCall>'
    const told = await shell('hd1', `curl -s --max-time 10 --cacert /etc/vsky/tls/ca.pem --cert /etc/vsky/tls/cert.pem --key /etc/vsky/tls/key.pem -H 'content-type: text/xml' -d '${body}' https://${lab().host('hd2').controlAddress}:8882/RPC2`)
    expect(told.stdout).not.to.match(/<params>/)
    expect(told.stdout === '' || /denied|not allowed|fault/i.test(told.stdout), told.stdout).to.equal(true)
  })

  it('an invitation that was overheard opens nothing once it was used, and the host\'s former certificate is good no more', async () => {
    const { invitation } = await lab().json<{ readonly invitation: string }>(['host', 'invite', 'hd2'])
    const agent = (options: string): string => `node ${dist}/agent/main.js ${options}`
    const joined = await lab().exec('hd2', ['bash', '-c', agent('--config /etc/vsky/agent.toml join')], { stdin: invitation, timeoutMs: 60_000 })
    expect(joined.code, joined.stderr).to.equal(0)
    await lab().service('hd2', 'restart')
    await lab().waitRegistered()
    const stolen = await lab().exec('hd1', ['bash', '-c', agent(`--config /run/thief.toml join --name hd2 --roles head --listen ${lab().host('hd1').controlAddress}:8882 --tls-dir /run/thief`)], { stdin: invitation, timeoutMs: 60_000 })
    expect(stolen.code, stolen.stdout).not.to.equal(0)
    expect((await shell('hd1', 'ls /run/thief/cert.pem /run/thief.toml 2>/dev/null')).stdout).to.equal('')
    expect(await callAs('hd2', apiMethods.hostHeartbeat.name, [{ name: 'hd2', bootId: 'x', incarnation: 'x', changed: 0 }])).to.be.oneOf(['denied', 'hung up', 'not authenticated'])
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd2') // which its new certificate serves
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })
})
