/**
 * The services as they are installed: a real systemd starts them from our units, and the sandbox there leaves them all that they need. In each host it is
 * the first process of a name space of its own, without udev.
 */
import { expect } from 'chai'
import { join } from 'node:path'
import type { VolumeView } from '../../../lib/api/views.js'
import { leftovers, startWriter, verifyWritten } from '../../../tools/lab/trial.js'
import { attach, create, detach, dist, eventually, remove, show, useLab } from '../cluster.js'

const MIB = 1024n ** 2n
const services = [['mgr1', 'vsky-manager'], ['st1', 'vsky-agent'], ['hd1', 'vsky-agent']] as const
/** What a distribution would start as well, and would be in the way: udev is not there, and iscsid runs already. */
const masked = ['tmp.mount', 'systemd-tmpfiles-setup.service', 'systemd-tmpfiles-setup-dev.service', 'systemd-tmpfiles-clean.timer', 'systemd-udevd.service', 'systemd-udevd-kernel.socket',
  'systemd-udevd-control.socket', 'systemd-networkd.service', 'systemd-resolved.service', 'systemd-timesyncd.service', 'systemd-remount-fs.service', 'iscsid.service', 'iscsid.socket',
  'open-iscsi.service', 'lvm2-monitor.service', 'lvm2-lvmpolld.socket', 'dm-event.socket', 'blk-availability.service', 'postgresql.service', 'dbus.socket']

/** The package under /usr/local, where homes and /tmp are hidden from nobody, its units, and systemd with one of them. */
const install = (unit: string): string => `
set -e
mkdir -p /usr/local/lib/vsky; mount --bind ${join(dist, '..')} /usr/local/lib/vsky
for name in vsky vsky-agent vsky-manager; do ln -sf /usr/local/lib/vsky/tools/bin/$name /usr/local/bin/$name; done
rm -rf /etc/systemd/system /etc/iscsi/nodes /run/lock/iscsi /var/target; mkdir -p /etc/systemd/system
cp /usr/local/lib/vsky/tools/systemd/${unit}.service /etc/systemd/system/
if [ ${unit} = vsky-manager ]; then systemd-sysusers /usr/local/lib/vsky/tools/systemd/vsky.sysusers.conf; chown -R vsky:vsky /etc/vsky /var/lib/vsky; fi
for other in ${masked.join(' ')}; do ln -sf /dev/null /etc/systemd/system/$other; done
printf '[Unit]\\nRequires=basic.target\\nWants=${unit}.service\\nAllowIsolate=yes\\n' > /etc/systemd/system/lab.target
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
setsid unshare --fork --pid --mount-proc env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin DM_DISABLE_UDEV=1 /lib/systemd/systemd --system --unit=lab.target > /run/systemd.log 2>&1 < /dev/null &
for try in {1..100}; do pgrep -f '^/lib/systemd/systemd --system' > /dev/null && exit 0; sleep 0.1; done; exit 1 # it would be ended with this shell before it has a session of its own`

describe('the services under systemd, on real kernels', () => {
  const lab = useLab('t-systemd', { storage: 1, heads: 1, diskBytes: 512n * MIB, extentSize: '64MiB', daemons: false })
  const inside = (host: string, command: string): Promise<string> => lab().must(host, ['bash', '-c', `nsenter -t $(pgrep -f '^/lib/systemd/systemd --system' | head -n 1) -p -m -- ${command}`])
  /** `Key` → value, of a process's status. */
  async function statusOf(host: string, unit: string): Promise<ReadonlyMap<string, string>> {
    const text = await inside(host, `bash -c 'cat /proc/$(systemctl show -P MainPID ${unit})/status'`)
    return new Map(text.split('\n').flatMap((line) => { const [key = '', value = ''] = line.split(':\t'); return value === '' ? [] : [[key, value] as const] }))
  }
  const logOf = (host: string, unit: string): Promise<string> => inside(host, `journalctl --no-pager -o cat -u ${unit}`)

  before(async function start() {
    this.timeout(150_000)
    for (const [host, unit] of services) await lab().must(host, ['bash', '-c', install(unit)])
    await lab().waitRegistered(120_000)
  })

  it('run with the rights that their units name and no others: the manager as a user of its own with none', async () => {
    const [manager, agent] = [await statusOf('mgr1', 'vsky-manager'), await statusOf('st1', 'vsky-agent')]
    expect([manager.get('CapEff'), manager.get('CapBnd'), manager.get('NoNewPrivs'), manager.get('Seccomp')]).to.deep.equal(['0000000000000000', '0000000000000000', '1', '2'])
    expect(manager.get('Uid')).to.not.match(/^0\t/)
    // CAP_CHOWN 0, CAP_DAC_OVERRIDE 1, CAP_SYS_MODULE 16, CAP_SYS_ADMIN 21, CAP_MKNOD 27, CAP_SYSLOG 34
    const rights = [0n, 1n, 16n, 21n, 27n, 34n].reduce((sum, bit) => sum | 1n << bit, 0n).toString(16).padStart(16, '0')
    expect([agent.get('CapEff'), agent.get('CapBnd'), agent.get('NoNewPrivs'), agent.get('Seccomp')]).to.deep.equal([rights, rights, '1', '2'])
  })

  it('do all of their work: a volume is made, attached, written, copied, detached and deleted, and both agents are started anew beneath its writer', async function works() {
    this.timeout(240_000)
    await create(lab(), 'v1', '64MiB', 1)
    await attach(lab(), 'v1', 'hd1')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v1')
    const disk = ({ segments }: VolumeView): string => `${segments[0]?.legs[0]?.host ?? ''}:${segments[0]?.legs[0]?.device ?? ''}`
    const from = disk(await show(lab(), 'v1'))
    await lab().json(['disk', 'evacuate', from, '--yes'])
    await eventually('its leg has moved to the other disk', () => show(lab(), 'v1'), (volume) => volume.segments.every(({ legs }) => legs.length === 1) && disk(volume) !== from, 90_000)
    for (const host of ['st1', 'hd1']) {
      await inside(host, 'systemctl restart vsky-agent')
      await eventually(`the agent of ${host} has registered again`, () => logOf(host, 'vsky-agent'), (log) => log.split('registered at').length === 3)
    }
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect(await verifyWritten(lab(), 'hd1', '/dev/vsky/v1', written)).to.deep.equal({ lost: 0, detail: '' })
    await detach(lab(), 'v1')
    await remove(lab(), 'v1')
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })

  it('were kept from nothing that they tried', async () => {
    for (const [host, unit] of services) {
      const log = await logOf(host, unit)
      expect(log.split('\n').filter((line) => /EPERM|EACCES|EROFS|not permitted|Permission denied|Read-only/.test(line)), host).to.deep.equal([])
    }
  })
})
