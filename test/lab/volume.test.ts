import { expect } from 'chai'
import type { DiskView, VolumeView } from '../../lib/api/views.js'
import { leftovers, startWriter, verifyWritten } from '../../tools/lab/trial.js'
import { attach, create, detach, digestOf, eventually, refused, remove, show, useLab } from './cluster.js'

const MIB = 1024 * 1024

describe('a volume, on real kernels', () => {
  // st1 is a head as well: its own legs are used without iSCSI.
  const lab = useLab('t-volume', { both: 1, diskBytes: 512n * 1024n ** 2n, extentSize: '128MiB' })
  afterEach(async () => { expect(await leftovers(lab())).to.deep.equal([]) })

  const sizes: readonly (readonly [what: string, size: string, bytes: number, legs: number])[] = [
    ['of 1 MiB with 1 leg', '1MiB', MIB, 1], ['of 100 MiB and one sector with 2 legs', `${100 * MIB + 512}`, 100 * MIB + 512, 2], ['larger than a disk with 3 legs', '600MiB', 600 * MIB, 3],
  ]
  for (const [what, size, bytes, legs] of sizes) {
    it(`${what} has exactly the size asked for, reads zero, and keeps what is written, also on another head`, async () => {
      const made = await create(lab(), 'v', size, legs)
      expect(Number(made.bytes)).to.equal(bytes)
      expect(made.segments.every((segment) => segment.legs.length === legs && new Set(segment.legs.map((leg) => leg.host)).size === legs)).to.equal(true)
      await attach(lab(), 'v', 'hd1')
      expect(Number(await lab().must('hd1', ['blockdev', '--getsize64', '/dev/vsky/v']))).to.equal(bytes)
      expect(await lab().must('hd1', ['bash', '-c', `head -c ${Math.min(bytes, 8 * MIB)} /dev/vsky/v | tr -d "\\0" | wc -c`])).to.equal('0\n')
      // The last sector, the first, and something in between.
      await lab().must('hd1', ['bash', '-c', `for at in 0 ${Math.floor(bytes / 1024)} ${bytes / 512 - 1}; do head -c 512 /dev/urandom | dd of=/dev/vsky/v bs=512 seek=$at conv=notrunc,fsync status=none; done`])
      const before = await digestOf(lab(), 'hd1', '/dev/vsky/v')
      await detach(lab(), 'v')
      await attach(lab(), 'v', 'hd2')
      expect(await digestOf(lab(), 'hd2', '/dev/vsky/v')).to.equal(before)
      await detach(lab(), 'v')
      await remove(lab(), 'v')
    })
  }

  it('that is new has nobody else\'s bytes in it', async () => {
    await create(lab(), 'old', '64MiB', 3)
    await attach(lab(), 'old', 'hd1')
    await lab().must('hd1', ['bash', '-c', 'tr "\\0" "x" < /dev/zero | dd of=/dev/vsky/old bs=1M count=64 iflag=fullblock conv=fsync status=none'])
    await detach(lab(), 'old')
    await remove(lab(), 'old')
    await create(lab(), 'new', '64MiB', 3)
    await attach(lab(), 'new', 'hd1')
    expect(await lab().must('hd1', ['bash', '-c', 'tr -d "\\0" < /dev/vsky/new | wc -c'])).to.equal('0\n')
    await detach(lab(), 'new')
    await remove(lab(), 'new')
  })

  it('lives beside another one, both made and attached at the same time', async () => {
    await Promise.all([create(lab(), 'a', '300MiB', 2), create(lab(), 'b', '300MiB', 3)])
    await Promise.all([attach(lab(), 'a', 'hd1'), attach(lab(), 'b', 'hd1')])
    await Promise.all(['a', 'b'].map((name) => lab().must('hd1', ['bash', '-c', `head -c 1048576 /dev/urandom | dd of=/dev/vsky/${name} bs=1M conv=fsync status=none`])))
    await Promise.all([detach(lab(), 'a'), detach(lab(), 'b')])
    await Promise.all([remove(lab(), 'a'), remove(lab(), 'b')])
  })

  it('uses the logical volume itself where the head is the storage server of a leg', async () => {
    const made = await create(lab(), 'near', '64MiB', 3)
    const local = made.segments[0]?.legs.find((leg) => leg.host === 'st1')?.extent ?? ''
    await attach(lab(), 'near', 'st1')
    const deps = await lab().must('st1', ['bash', '-c', `dmsetup deps -o devname vsky-${made.id}-s0; ls /sys/class/iscsi_session | wc -l`])
    expect(deps).to.contain(local).and.to.match(/\n2\n$/) // the two other servers only
    await lab().must('st1', ['bash', '-c', 'head -c 65536 /dev/urandom | dd of=/dev/vsky/near conv=fsync status=none'])
    const before = await digestOf(lab(), 'st1', '/dev/vsky/near')
    await detach(lab(), 'near')
    await attach(lab(), 'near', 'hd2')
    expect(await digestOf(lab(), 'hd2', '/dev/vsky/near')).to.equal(before)
    await detach(lab(), 'near')
    await remove(lab(), 'near')
  })

  it('stays when it is in use: detaching it is refused and changes nothing', async () => {
    await create(lab(), 'busy', '16MiB', 2)
    await attach(lab(), 'busy', 'hd1')
    await lab().must('hd1', ['bash', '-c', 'mkfs.ext4 -q /dev/vsky/busy && mkdir -p /run/m && mount /dev/vsky/busy /run/m && echo hello > /run/m/x'])
    const before = await lab().must('hd1', ['dmsetup', 'table'])
    expect(await refused(lab(), ['volume', 'detach', 'busy'], 4, 'volume in use')).to.contain('mounted at /run/m')
    expect(await lab().must('hd1', ['dmsetup', 'table'])).to.equal(before)
    expect((await show(lab(), 'busy')).state).to.equal('attached')
    expect(await lab().must('hd1', ['cat', '/run/m/x'])).to.equal('hello\n')
    await lab().must('hd1', ['umount', '/run/m'])
    await detach(lab(), 'busy')
    await remove(lab(), 'busy')
  })

  it('keeps serving while its agents are killed, and they adopt it again', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    const restarts = async (): Promise<number> => (await lab().vsky(['event', 'list', '--limit', '1000'])).stdout.split('\n').filter((line) => line.includes('agent restarted')).length
    const before = await restarts()
    for (const host of ['hd1', 'st1', 'st2', 'st3']) await lab().service(host, 'kill9')
    await eventually('all four are back', restarts, (count) => count >= before + 4)
    await lab().waitRegistered()
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect(written.writes).to.be.greaterThan(0)
    expect(await verifyWritten(lab(), 'hd1', '/dev/vsky/v', written)).to.deep.equal({ lost: 0, detail: '' })
    const [segment] = (await show(lab(), 'v')).segments
    expect(segment?.legs.map((leg) => leg.state)).to.deep.equal(['insync', 'insync'])
    expect(segment?.generation).to.equal(1)
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('leaves foreign things alone: a device, a logical volume, an export, and they are told', async () => {
    await lab().must('hd1', ['dmsetup', 'create', 'stranger', '--table', '0 8 zero'])
    await lab().must('st2', ['bash', '-c', 'mkdir -p /sys/kernel/config/target/iscsi/iqn.2000-01.org.example:foreign'])
    await create(lab(), 'v', '16MiB', 2)
    await attach(lab(), 'v', 'hd1')
    await detach(lab(), 'v')
    await remove(lab(), 'v')
    await lab().service('hd1', 'restart')
    await lab().service('st2', 'restart')
    await eventually('the strangers are told', () => Promise.all(['hd1', 'st2'].map((host) => lab().json<{ foreign: readonly { name: string }[] }>(['host', 'show', host]))),
      ([head, storage]) => (head?.foreign ?? []).some((each) => each.name === 'stranger') && (storage?.foreign ?? []).some((each) => each.name.endsWith('example:foreign')))
    expect(await lab().must('hd1', ['dmsetup', 'table', 'stranger'])).to.equal('0 8 zero \n')
    await lab().must('hd1', ['dmsetup', 'remove', 'stranger'])
    await lab().must('st2', ['rmdir', '/sys/kernel/config/target/iscsi/iqn.2000-01.org.example:foreign'])
  })
})

describe('what is refused, on real kernels', () => {
  const lab = useLab('t-refuse', { heads: 1, disks: 1 })
  let before: string
  beforeEach(async () => { before = await books() })
  afterEach(async () => { expect(await books(), 'nothing has changed').to.equal(before) })

  async function books(): Promise<string> {
    const volumes = await lab().json<readonly VolumeView[]>(['volume', 'list'])
    const disks = await lab().json<readonly DiskView[]>(['disk', 'list'])
    return JSON.stringify([volumes.map(({ name, state }) => [name, state]), disks.map(({ id, host, device, extents, state }) => [id, host, device, extents, state])])
  }

  it('unknown volumes, hosts and disks', async () => {
    await refused(lab(), ['volume', 'show', 'nobody'], 3, 'unknown volume')
    await refused(lab(), ['volume', 'detach', 'nobody'], 3, 'unknown volume')
    await refused(lab(), ['volume', 'delete', 'nobody'], 3, 'unknown volume')
    await refused(lab(), ['host', 'show', 'nobody'], 3, 'unknown host')
    await refused(lab(), ['disk', 'add', 'nobody', '/dev/sdb'], 3, 'unknown host')
    await refused(lab(), ['disk', 'remove', 'nobody'], 3, 'unknown disk')
  })

  it('malformed names and sizes, before anything is sent', async () => {
    for (const name of ['a/b', '.x', 'a b', 'ü', 'x'.repeat(64), '..', '']) await refused(lab(), ['volume', 'create', name, '--size', '1MiB'], 2, 'usage')
    for (const size of ['0', '1048577', '1023KiB', '65TiB', 'large', '-1MiB']) await refused(lab(), ['volume', 'create', 'v', `--size=${size}`], 2, 'usage')
    await refused(lab(), ['volume', 'create', 'v', '--size', '1MiB', '--redundancy', '10'], 2, 'usage')
  })

  it('more than there is: legs than servers, bytes than room', async () => {
    expect(await refused(lab(), ['volume', 'create', 'v', '--size', '1MiB', '--redundancy', '4'], 5, 'too few servers')).to.contain('there are 3 (st1, st2, st3)')
    expect(await refused(lab(), ['volume', 'create', 'v', '--size', '2GiB'], 5, 'no room')).to.contain('needed')
  })

  it('a name that is taken, attaching twice, to the wrong host, or deleting what is attached', async () => {
    await create(lab(), 'v', '16MiB', 2)
    await refused(lab(), ['volume', 'create', 'v', '--size', '16MiB'], 4, 'name taken')
    await refused(lab(), ['volume', 'attach', 'v', '--host', 'nobody'], 3, 'unknown host')
    await refused(lab(), ['volume', 'attach', 'v', '--host', 'st1'], 4, 'wrong role')
    await attach(lab(), 'v', 'hd1')
    await refused(lab(), ['volume', 'attach', 'v', '--host', 'hd1'], 4, 'volume attached')
    await refused(lab(), ['volume', 'delete', 'v'], 4, 'volume attached')
    await detach(lab(), 'v')
    await lab().service('hd1', 'stop')
    await eventually('hd1 is offline', () => lab().json<{ state: string }>(['host', 'show', 'hd1']), (host) => host.state === 'offline')
    await refused(lab(), ['volume', 'attach', 'v', '--host', 'hd1'], 6, 'host offline')
    await lab().service('hd1', 'start')
    await lab().waitRegistered()
    await remove(lab(), 'v')
  })

  it('a disk with a file system, with data, mounted, or already taken; and force erases only what is not in use', async () => {
    const device = await lab().faults.add('st1', 256n * 1024n ** 2n)
    await lab().must('st1', ['mkfs.ext4', '-q', device])
    expect(await refused(lab(), ['disk', 'add', 'st1', device], 4, 'disk has data')).to.contain('ext4')
    await lab().must('st1', ['bash', '-c', `mkdir -p /run/m && mount ${device} /run/m`])
    expect(await refused(lab(), ['disk', 'add', 'st1', device, '--force'], 4, 'disk in use')).to.contain('mounted at /run/m')
    await lab().must('st1', ['umount', '/run/m'])
    await lab().must('st1', ['bash', '-c', `wipefs -aq ${device}; dd if=/dev/zero of=${device} bs=1M count=8 status=none; printf x | dd of=${device} bs=1 seek=1000000 conv=fsync status=none`])
    expect(await refused(lab(), ['disk', 'add', 'st1', device], 4, 'disk has data')).to.contain('1000000')
    await refused(lab(), ['disk', 'add', 'st1', '/dev/null'], 2, 'bad parameter')
    await refused(lab(), ['disk', 'add', 'st1', '/dev/mapper/disk1', '--force'], 4, 'disk taken')
    await refused(lab(), ['disk', 'add', 'hd1', device], 4, 'wrong role')
    const added = await lab().json<DiskView>(['disk', 'add', 'st1', device, '--force'])
    expect(added.state).to.equal('ready')
    await lab().json(['disk', 'remove', added.id])
    expect((await lab().must('st1', ['wipefs', '--no-act', device])).trim()).to.equal('')
  })

  it('a LUN with the wrong serial number: nothing of it is used', async () => {
    const made = await create(lab(), 'v', '16MiB', 2)
    const [leg] = made.segments[0]?.legs ?? []
    const { host = '', extent = '' } = leg ?? {}
    const store = `/sys/kernel/config/target/core/iblock_7717/${extent}`
    const link = `/sys/kernel/config/target/iscsi/iqn.2026-11.io.vsky:storage.${host}/tpgt_1/lun/lun_1/extent`
    // The same LUN number, another disk behind it: as after a mistake in a server's configuration. An agent that looks meanwhile would put it right.
    await lab().service(host, 'pause')
    await lab().must(host, ['bash', '-ec', `rm ${link}; rmdir ${store}; mkdir ${store}; echo udev_path=$(ls /dev/vsky_*/${extent}) > ${store}/control; echo ${'9'.repeat(32)} > ${store}/wwn/vpd_unit_serial; echo 1 > ${store}/enable; ln -s ${store} ${link}`])
    await lab().service(host, 'resume')
    expect(await refused(lab(), ['volume', 'attach', 'v', '--host', 'hd1'], 6, 'wrong device')).to.contain('9'.repeat(32))
    const left = (): Promise<string> => lab().must('hd1', ['bash', '-c', 'ls /dev/mapper /sys/class/scsi_disk 2>/dev/null | grep -v -e control -e : | tr -d "\\n"; ls /sys/class/iscsi_session | wc -l'])
    expect(await eventually('its sessions are ended in the background', left, (found) => found === '0\n')).to.equal('0\n')
    expect((await show(lab(), 'v')).state).to.equal('detached')
    await remove(lab(), 'v')
  })
})
