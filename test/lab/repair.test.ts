/** What VastSky promised and ours proves: a volume survives the loss of disks, servers and heads, and the cluster puts itself right. */
import { expect } from 'chai'
import type { JobView, MovePlanView, StatusView, VolumeView } from '../../lib/api/views.js'
import type { Lab } from '../../tools/lab/lab.js'
import { leftovers, startWriter, unequalLegs, verifyWritten } from '../../tools/lab/trial.js'
import type { Writer } from '../../tools/lab/trial.js'
import { attach, create, detach, eventually, refused, remove, show, useLab } from './cluster.js'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('putting right what was lost, on real kernels', () => {
  const lab = useLab('t-repair', { storage: 4, heads: 2, diskBytes: 512n * 1024n ** 2n, extentSize: '64MiB' })

  beforeEach(async () => { await lab().waitRegistered() })
  afterEach(async function cleanUp() {
    if (this.currentTest?.state === 'failed') console.log((await lab().vsky(['event', 'list', '--limit', '40'])).stdout)
    for (const volume of await lab().json<readonly VolumeView[]>(['volume', 'list'])) {
      if (volume.state === 'attached') await detach(lab(), volume.name)
      await remove(lab(), volume.name)
    }
    for (const setting of ['repair.grace', 'volume.wait', 'resync.paused']) await lab().json(['setting', 'set', setting])
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })

  const serverOf = (volume: VolumeView, slot: number, segment = 0): string => volume.segments[segment]?.legs[slot]?.host ?? ''
  const diskOf = (volume: VolumeView, slot: number): { readonly host: string; readonly number: number; readonly label: string } => {
    const leg = volume.segments[0]?.legs[slot]
    return { host: leg?.host ?? '', number: Number(/\d+$/.exec(leg?.device ?? '')?.[0] ?? 0), label: `${leg?.host ?? ''}:${leg?.device ?? ''}` }
  }
  const whole = (name: string): Promise<VolumeView> => eventually(`${name} is whole again`, () => show(lab(), name),
    (volume) => volume.health === 'full' && volume.segments.every((segment) => segment.legs.length === volume.redundancy && segment.legs.every((leg) => leg.state === 'insync')), 90_000)

  /** Stops the writer and proves that it met no error and lost nothing, and that the legs are equal. Gives its longest wait, ms. */
  async function expectKept(writer: Writer, name: string, host = 'hd1'): Promise<number> {
    const written = await writer.stop()
    expect(written.error, 'the writer met no error').to.equal('')
    expect(written.writes).to.be.greaterThan(20)
    expect((await verifyWritten(lab(), host, `/dev/vsky/${name}`, written)).detail, 'every acknowledged write is there').to.equal('')
    await lab().must(host, ['sync'])
    expect(await unequalLegs(lab(), name), 'in-sync legs are equal').to.deep.equal([])
    return written.longestMs
  }

  async function power(host: string, verb: 'off' | 'on'): Promise<void> {
    await (verb === 'off' ? lab().powerOff(host) : lab().powerOn(host))
  }

  it('a server loses power under a writer: it pauses and meets no error, and the same leg is caught up when the server is back', async () => {
    const before = await attachNew('v', '128MiB', 3)
    const gone = serverOf(before, 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await power(gone, 'off')
    await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.some((leg) => leg.host === gone && leg.state === 'stale') ?? false, 20_000)
    await power(gone, 'on')
    const after = await whole('v')
    expect(after.segments[0]?.legs.map((leg) => leg.extent)).to.have.members(before.segments[0]?.legs.map((leg) => leg.extent) ?? [])
    await expectKept(writer, 'v')
  })

  it('a sector that can\'t be read is read elsewhere, written anew from a good leg, and counted', async () => {
    const before = await attachNew('v', '64MiB', 2)
    const { host, number, label } = diskOf(before, 0)
    const leg = before.segments[0]?.legs[0]
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().must('hd1', ['dd', 'if=/dev/urandom', 'of=/dev/vsky/v', 'bs=1M', 'count=4', 'seek=40', 'oflag=direct', 'status=none'])
    const begins = Number((await lab().must(host, ['dmsetup', 'table', `vsky_${leg?.disk ?? ''}-${leg?.extent ?? ''}`])).split(' ')[4])
    await lab().faults.set(host, number, { kind: 'bad', sectors: [begins + 41 * 2048 + 8, begins + 42 * 2048] })
    await lab().must('hd1', ['dd', 'if=/dev/vsky/v', 'of=/dev/null', 'bs=1M', 'count=4', 'skip=40', 'iflag=direct', 'status=none'])
    await eventually('it was written anew', () => lab().vsky(['event', 'list', '--limit', '50']), ({ stdout }) => stdout.includes('were written there anew'), 30_000)
    // Both may not have been met at once: the kernel reads on from the other leg after the first.
    await lab().must('hd1', ['dd', 'if=/dev/vsky/v', 'of=/dev/null', 'bs=1M', 'count=4', 'skip=40', 'iflag=direct', 'status=none'])
    await eventually('the leg can be read as a whole', () => lab().exec(host, ['dd', `if=/dev/vsky_${leg?.disk ?? ''}/${leg?.extent ?? ''}`, 'of=/dev/null', 'bs=1M', 'count=64', 'iflag=direct', 'status=none']), ({ code }) => code === 0, 30_000)
    expect((await show(lab(), 'v')).segments[0]?.legs.map((each) => each.state)).to.deep.equal(['insync', 'insync'])
    expect((await lab().json<{ readErrors: number }>(['disk', 'show', label])).readErrors).to.be.greaterThan(0)
    await expectKept(writer, 'v')
    await lab().faults.heal(host, number)
    await lab().json(['disk', 'use', label])
  })

  it('a disk fails under a writer: its leg is made anew on another server', async () => {
    const before = await attachNew('v', '64MiB', 2)
    const { host, number, label } = diskOf(before, 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().faults.set(host, number, { kind: 'fail', direction: 'both' })
    await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.some((leg) => leg.host === host && leg.state === 'stale') ?? false, 20_000)
    await lab().json(['disk', 'fail', label])
    const after = await whole('v')
    expect(after.segments[0]?.legs.map((leg) => `${leg.host}:${leg.device}`)).not.to.include(label)
    await expectKept(writer, 'v')
    await lab().faults.heal(host, number)
    await lab().json(['disk', 'use', label])
  })

  it('a leg that is being copied to fails again and again, flushes and all: each time the writer goes on, and in the end it is whole', async () => {
    const { host, number } = diskOf(await attachNew('v', '64MiB', 2), 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    const legOf = (volume: VolumeView): string => volume.segments[0]?.legs.find((leg) => leg.host === host)?.state ?? ''
    for (const afterMs of [0, 500, 1400]) {
      await lab().faults.set(host, number, { kind: 'fail', direction: 'write' })
      await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => legOf(volume) === 'stale', 30_000)
      await lab().faults.heal(host, number)
      await eventually('it is copied to', () => show(lab(), 'v'), (volume) => legOf(volume) !== 'stale', 60_000)
      await pause(afterMs)
    }
    await whole('v')
    await expectKept(writer, 'v')
  })

  it('a disk that answers nothing: its leg is left behind, volumes come and go meanwhile, and all is whole when it answers again', async () => {
    const { host, number, label } = diskOf(await attachNew('v', '64MiB', 2), 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().faults.set(host, number, { kind: 'hang' })
    await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.some((leg) => leg.host === host && leg.state === 'stale') ?? false, 40_000)
    await eventually('it is known', () => lab().json<{ state: string }>(['disk', 'show', label]), ({ state }) => state === 'failed', 60_000)
    await create(lab(), 'w', '64MiB', 4) // on every server
    // Its server's target may let nobody log in while a command does not end: then that leg, too, is left behind.
    expect((await attach(lab(), 'w', 'hd2')).segments[0]?.legs.filter((leg) => leg.state === 'insync' || leg.host === host)).to.have.length(4)
    await detach(lab(), 'w')
    await remove(lab(), 'w')
    await lab().faults.heal(host, number)
    await eventually('it is well again', () => lab().json<{ state: string }>(['disk', 'show', label]), ({ state }) => state === 'ready', 60_000)
    await whole('v')
    await expectKept(writer, 'v')
  })

  it('a flush fails and the kernel forgets it, with no agent awake to see: the agent finds what is held, and it goes on', async () => {
    const { host, number } = diskOf(await attachNew('v', '64MiB', 2), 0)
    const flush = (): ReturnType<Lab['exec']> => lab().exec('hd1', ['sync', '/dev/vsky/v'], { timeoutMs: 60_000 })
    await lab().service('hd1', 'pause')
    await lab().faults.set(host, number, { kind: 'fail', direction: 'write' })
    const held = flush()
    await pause(1000)
    await lab().faults.heal(host, number)
    expect((await flush()).code, 'the next flush reaches both legs').to.equal(0)
    expect(await lab().must('hd1', ['dmsetup', 'status', '--noflush', '--target', 'mirror']), 'and the kernel calls both well').to.match(/-s0: .* 32\/32 1 AA/)
    await lab().service('hd1', 'resume')
    expect((await held).code, 'the first one ends well').to.equal(0)
    await whole('v')
  })

  it('the server of the only leg is away: reads and writes wait, and go on by themselves when it is back', async () => {
    const before = await attachNew('v', '64MiB', 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await power(serverOf(before, 0), 'off')
    await pause(7000)
    const reader = lab().exec('hd1', ['dd', 'if=/dev/vsky/v', 'of=/dev/null', 'bs=1M', 'count=4', 'iflag=direct'], { timeoutMs: 60_000 })
    await pause(1000)
    await power(serverOf(before, 0), 'on')
    expect((await reader).code, 'a read that waited ends well').to.equal(0)
    await expectKept(writer, 'v')
  })

  it('the head\'s way to all legs is cut: nothing meets an error, and all goes on when the way is back', async () => {
    await attachNew('v', '64MiB', 2)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await pause(2000)
    await lab().cut({ from: 'hd1', plane: 'data', oneWay: false })
    await pause(9000)
    await lab().heal()
    await eventually('no I/O waits', () => lab().json<StatusView>(['status']), (status) => status.unavailable.length === 0)
    await pause(3000)
    await whole('v')
    await expectKept(writer, 'v')
  })

  it('the head dies: the volume is taken from it and served elsewhere, whole, and the old head is let in nowhere', async () => {
    await attachNew('v', '128MiB', 3)
    await refused(lab(), ['volume', 'attach', 'v', '--host', 'hd2', '--force-from-dead-host'], 4, 'host online')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await pause(1000)
    const written = await writer.stop()
    await power('hd1', 'off')
    const moved = await eventually('hd2 gets it', () => lab().json<VolumeView>(['volume', 'attach', 'v', '--host', 'hd2', '--force-from-dead-host']), (volume) => volume.state === 'attached', 40_000)
    expect(moved.head).to.equal('hd2')
    expect((await verifyWritten(lab(), 'hd2', '/dev/vsky/v', written)).detail).to.equal('')
    await whole('v')
    expect(await unequalLegs(lab(), 'v')).to.deep.equal([])
    await power('hd1', 'on')
    await lab().waitRegistered()
    for (const server of ['st1', 'st2', 'st3', 'st4']) {
      const acls = await lab().must(server, ['bash', '-c', 'ls -d /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/* 2>/dev/null || true'])
      expect(acls, `ACLs on ${server}`).not.to.contain('host.hd1')
    }
  })

  it('a head that still writes, and that nobody can ask, can acknowledge nothing once its volume was taken from it', async () => {
    await attachNew('v', '64MiB', 2)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().cut({ from: 'hd1', plane: 'control', oneWay: false }) // its data network works on
    await eventually('hd2 gets it', () => lab().json<VolumeView>(['volume', 'attach', 'v', '--host', 'hd2', '--force-from-dead-host']), (volume) => volume.state === 'attached', 40_000)
    const count = async (): Promise<string> => lab().must('hd1', ['bash', '-c', 'cat /sys/block/dm-*/stat | awk \'{print $5}\' | paste -sd,'])
    await pause(2000)
    const first = await count()
    await pause(3000)
    expect(await count(), 'writes that the old head has had done').to.equal(first)
    await lab().must('hd2', ['bash', '-c', 'dd if=/dev/urandom of=/dev/vsky/v bs=1M count=4 oflag=direct status=none && sha256sum /dev/vsky/v > /run/before'])
    await lab().heal()
    expect((await writer.stop()).error, 'what waited on the old head ends with an error').to.contain('EIO')
    await eventually('the old head has nothing of it', () => lab().must('hd1', ['ls', '/dev/mapper']), (names) => names.trim() === 'control')
    expect((await lab().must('hd2', ['bash', '-c', 'sha256sum /dev/vsky/v | diff - /run/before && echo same'])).trim()).to.equal('same')
    await whole('v')
  })

  it('a detached volume whose server stays away is made whole on a head chosen for it; the old extent goes when the server is back', async () => {
    const before = await create(lab(), 'v', '64MiB', 2)
    await lab().json(['setting', 'set', 'repair.grace', '3'])
    const gone = serverOf(before, 0)
    await power(gone, 'off')
    const after = await eventually('a new leg stands elsewhere', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.every((leg) => leg.state === 'insync' && leg.host !== gone) ?? false, 60_000)
    expect(after.segments[0]?.legs).to.have.length(2)
    expect(await unequalLegs(lab(), 'v')).to.deep.equal([])
    await power(gone, 'on')
    await eventually('its old extent is gone', () => lab().json<readonly { host: string; extents: number }[]>(['disk', 'list', '--host', gone]), (disks) => disks.every((disk) => disk.extents === 0))
  })

  it('two servers of a detached two-leg volume flap one after the other: neither leg becomes stale, no byte changes', async () => {
    const volume = await attachNew('v', '64MiB', 2)
    await lab().must('hd1', ['bash', '-c', 'dd if=/dev/urandom of=/dev/vsky/v bs=1M count=16 oflag=direct status=none; sha256sum < /dev/vsky/v > /run/before'])
    const before = await lab().must('hd1', ['cat', '/run/before'])
    await detach(lab(), 'v')
    for (const slot of [0, 1]) {
      await power(serverOf(volume, slot), 'off')
      await pause(6000)
      await power(serverOf(volume, slot), 'on')
      await lab().waitRegistered()
    }
    expect((await show(lab(), 'v')).segments[0]?.legs.map((leg) => leg.state)).to.deep.equal(['insync', 'insync'])
    await attach(lab(), 'v', 'hd2')
    expect(await lab().must('hd2', ['bash', '-c', 'sha256sum < /dev/vsky/v'])).to.equal(before)
  })

  it('a disk is evacuated under a writer: the plan tells first, the legs move, nothing is left on it', async () => {
    const before = await attachNew('v', '64MiB', 2)
    const { label } = diskOf(before, 0)
    const plan = await lab().json<MovePlanView>(['disk', 'evacuate', label, '--plan'])
    expect([plan.legs, plan.volumes, plan.problems]).to.deep.equal([1, ['v'], []])
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().json(['disk', 'evacuate', label])
    await eventually('it is empty', () => lab().json<{ extents: number }>(['disk', 'show', label]), (disk) => disk.extents === 0)
    const job = (await lab().json<readonly JobView[]>(['job', 'list'])).find((each) => each.kind === 'evacuate')
    await whole('v')
    await expectKept(writer, 'v')
    await eventually('its job is done', () => lab().json<readonly JobView[]>(['job', 'list']), (jobs) => jobs.find((each) => each.id === job?.id)?.state === 'done')
    await refused(lab(), ['job', 'cancel', job?.id ?? ''], 4, 'job finished')
    await lab().json(['disk', 'use', label])
  })

  it('the leg that is being copied to fails: the writer goes on, and another is made', async () => {
    const before = await attachNew('v', '64MiB', 2)
    const first = diskOf(before, 1)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().json(['disk', 'fail', first.label])
    const target = await eventually('a copy runs', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.some((leg) => leg.state === 'syncing') ?? false, 20_000)
    const hit = target.segments[0]?.legs.find((leg) => leg.state === 'syncing')
    await power(hit?.host ?? '', 'off')
    await pause(4000)
    await power(hit?.host ?? '', 'on')
    await whole('v')
    await expectKept(writer, 'v')
    await lab().json(['disk', 'use', first.label])
  })

  it('a leg fails while the manager is dead: the writes wait, and go on when it is back', async () => {
    const before = await attachNew('v', '64MiB', 2)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await pause(2000)
    await lab().service('mgr1', 'stop')
    await power(serverOf(before, 1), 'off')
    await pause(9000)
    await lab().service('mgr1', 'start')
    await eventually('the leg is stale', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.some((leg) => leg.state === 'stale') ?? false, 30_000)
    await pause(2000)
    const longestMs = await expectKept(writer, 'v')
    expect(longestMs, 'nothing was acknowledged without the manager\'s record').to.be.greaterThan(3000)
    await power(serverOf(before, 1), 'on')
    await whole('v')
  })

  it('everything loses power at once and comes back in any order: every acknowledged write is there', async () => {
    await attachNew('v', '64MiB', 3)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await pause(1500)
    const written = await writer.stop()
    const all = ['mgr1', 'st1', 'st2', 'st3', 'st4', 'hd1']
    await Promise.all(all.map((host) => power(host, 'off')))
    for (const host of ['st3', 'hd1', 'st1', 'mgr1', 'st4', 'st2']) await power(host, 'on')
    await lab().waitRegistered()
    await whole('v')
    await eventually('it is up again', () => lab().exec('hd1', ['test', '-b', '/dev/vsky/v']), (result) => result.code === 0)
    expect((await verifyWritten(lab(), 'hd1', '/dev/vsky/v', written)).detail).to.equal('')
    expect(await unequalLegs(lab(), 'v')).to.deep.equal([])
  })

  it('refuses what makes no sense, and changes nothing', async () => {
    const volume = await create(lab(), 'v', '64MiB', 3)
    await refused(lab(), ['disk', 'fail', 'st1:/dev/nothing'], 3, 'unknown disk')
    await refused(lab(), ['job', 'cancel', 'nothing'], 3, 'unknown job')
    await refused(lab(), ['explain', 'nothing'], 3, 'unknown object')
    for (const value of ['0', '-1', '65']) await refused(lab(), ['setting', 'set', 'resync.per_source_disk', value], 2, 'bad parameter')
    await refused(lab(), ['setting', 'set', 'nothing', '1'], 2, 'bad parameter')
    await refused(lab(), ['host', 'fail', 'st1'], 4, 'host online')
    const spare = ['st1', 'st2', 'st3', 'st4'].find((host) => !volume.segments[0]?.legs.some((leg) => leg.host === host)) ?? ''
    await lab().json(['host', 'drain', spare])
    await refused(lab(), ['host', 'drain', serverOf(volume, 0)], 5, 'no room')
    expect((await show(lab(), 'v')).segments[0]?.legs.map((leg) => leg.state)).to.deep.equal(['insync', 'insync', 'insync'])
    await lab().json(['host', 'use', spare])
  })

  async function attachNew(name: string, size: string, redundancy: number): Promise<VolumeView> {
    await create(lab(), name, size, redundancy)
    return attach(lab(), name, 'hd1')
  }
})
