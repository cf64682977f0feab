/** What was written is remembered: a leg that was away, or whose head crashed, is brought up to date by it, and ends equal all the same. */
import { expect } from 'chai'
import type { VolumeView } from '../../lib/api/views.js'
import { leftovers, startWriter, verifyWritten } from '../../tools/lab/trial.js'
import { attach, create, detach, eventually, remove, show, useLab } from './cluster.js'

const MIB = 1024n ** 2n

describe('bringing a leg up to date by what changed, on real kernels', () => {
  const lab = useLab('t-changes', { storage: 3, heads: 2, diskBytes: 512n * MIB, extentSize: '64MiB' })

  beforeEach(async () => { await lab().waitRegistered() })
  afterEach(async function cleanUp() {
    if (this.currentTest?.state === 'failed') console.log((await lab().vsky(['event', 'list', '--limit', '40'])).stdout)
    for (const volume of await lab().json<readonly VolumeView[]>(['volume', 'list'])) {
      if (volume.state === 'attached') await detach(lab(), volume.name)
      await remove(lab(), volume.name)
    }
    for (const setting of ['volume.changes', 'repair.grace']) await lab().json(['setting', 'set', setting])
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })

  const path = '/dev/vsky/v'
  const whole = (): Promise<VolumeView> => eventually('v is whole again', () => show(lab(), 'v'),
    (volume) => volume.health === 'full' && volume.segments.every((segment) => segment.legs.length === volume.redundancy && segment.legs.every((leg) => leg.state === 'insync')), 90_000)
  const write = async (host: string, atMebibytes: number, mebibytes: number): Promise<void> => {
    await lab().must(host, ['dd', 'if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${mebibytes}`, `seek=${atMebibytes}`, 'oflag=direct', 'status=none'], { timeoutMs: 60_000 })
  }
  /** Everything that was ever told of copies of this volume. */
  const copies = async (): Promise<string> => (await lab().vsky(['event', 'list', '--limit', '200'])).stdout.split('\n').filter((line) => line.includes('copy begins')).join('\n')

  async function newVolume(size: string, redundancy: number): Promise<VolumeView> {
    await create(lab(), 'v', size, redundancy)
    return attach(lab(), 'v', 'hd1')
  }
  const serverOf = (volume: VolumeView, slot: number): string => volume.segments[0]?.legs[slot]?.host ?? ''

  /** Bytes written so far to the logical volumes of a storage server. */
  async function writtenOn(host: string): Promise<bigint> {
    const text = await lab().must(host, ['bash', '-c', 'for d in /sys/block/dm-*; do case $(<$d/dm/uuid) in LVM-*) read -r _ _ _ _ _ _ sectors _ < $d/stat; echo $sectors;; esac; done'])
    return text.split('\n').filter((line) => line !== '').reduce((sum, line) => sum + BigInt(line) * 512n, 0n)
  }

  /** Legs are equal to the last byte of their logical volumes, what is remembered of changes included; the volume is detached for it. */
  async function expectEqual(): Promise<void> {
    await detach(lab(), 'v')
    const view = await show(lab(), 'v')
    for (const segment of view.segments) {
      const sums = await Promise.all(segment.legs.map(async (leg) => (await lab().must(leg.host, ['bash', '-c', `dd if=/dev/vsky_${leg.disk}/${leg.extent} bs=1M iflag=direct status=none | sha256sum`], { timeoutMs: 120_000 })).slice(0, 64)))
      expect(new Set(sums).size, `segment ${segment.index}: ${sums.join(' ')}`).to.equal(1)
    }
  }

  it('a server that was away gets what was written meanwhile, and the writer hardly waits for it', async () => {
    const before = await newVolume('160MiB', 3)
    const gone = serverOf(before, 1)
    await write('hd1', 0, 48)
    const writer = await startWriter(lab(), 'hd1', path)
    await lab().powerOff(gone)
    await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => volume.segments.every((segment) => segment.legs.every((leg) => leg.host !== gone || leg.state === 'stale')), 30_000)
    await write('hd1', 100, 8)
    await lab().powerOn(gone)
    await whole()
    expect(await copies(), 'no copy was of everything').to.include('what changed').and.not.to.include('all of it')
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect((await verifyWritten(lab(), 'hd1', path, written)).detail).to.equal('')
    await expectEqual()
  })

  it('a flap costs what was written, not what there is', async () => {
    const before = await newVolume('64MiB', 2)
    const gone = serverOf(before, 1)
    await write('hd1', 0, 4)
    await lab().powerOff(gone)
    await write('hd1', 32, 4)
    await lab().powerOn(gone)
    await eventually('the server is back', () => lab().json<readonly { name: string; state: string }[]>(['host', 'list']), (hosts) => hosts.every((host) => host.state === 'online'))
    await whole()
    expect(Number(await writtenOn(gone) / MIB), 'MiB written on it since it is back: 8 that were written, 4 that remember it').to.be.lessThan(20)
    await expectEqual()
  })

  it('after a head\'s power failure the legs are made equal where they can differ, and the volume serves meanwhile', async () => {
    await newVolume('160MiB', 3)
    await write('hd1', 0, 30)
    const writer = await startWriter(lab(), 'hd1', path)
    await lab().powerOff('hd1')
    writer.stop().catch(() => undefined)
    await lab().powerOn('hd1')
    await eventually('it is up again', () => show(lab(), 'v'), (volume) => volume.state === 'attached' && volume.device !== '' && (volume.segments[0]?.generation ?? 0) > 1, 60_000)
    await whole()
    expect(await lab().logs('hd1')).to.include('what changed is copied').and.not.to.include('all is copied')
    await expectEqual()
  })

  it('the volume moves to another head by force, and what was in flight is made equal', async () => {
    await newVolume('128MiB', 2)
    const writer = await startWriter(lab(), 'hd1', path)
    writer.stop().catch(() => undefined)
    await lab().powerOff('hd1')
    await eventually('the head is silent', () => lab().json<readonly { name: string; state: string }[]>(['host', 'list']), (hosts) => hosts.some((host) => host.name === 'hd1' && host.state === 'offline'), 20_000)
    await lab().json(['volume', 'attach', 'v', '--host', 'hd2', '--force-from-dead-host'])
    await whole()
    await write('hd2', 64, 4)
    await expectEqual()
    await lab().powerOn('hd1')
  })

  it('the leg that carries what is remembered is lost for good: a new one carries it, and only what was ever written is copied', async () => {
    const before = await newVolume('64MiB', 2)
    await write('hd1', 8, 4)
    const lost = before.segments[0]?.legs[0]
    const writer = await startWriter(lab(), 'hd1', path)
    await lab().json(['disk', 'fail', `${lost?.host ?? ''}:${lost?.device ?? ''}`])
    const after = await whole()
    expect(after.segments[0]?.legs.map((leg) => leg.extent)).not.to.include(lost?.extent)
    expect(await copies()).to.include('what changed').and.not.to.include('all of it')
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect((await verifyWritten(lab(), 'hd1', path, written)).detail).to.equal('')
    await expectEqual()
    await lab().json(['disk', 'use', `${lost?.host ?? ''}:${lost?.device ?? ''}`])
  })

  it('a detached volume is brought up to date by what its last head remembered', async () => {
    const before = await newVolume('128MiB', 2)
    const gone = serverOf(before, 1)
    await write('hd1', 0, 4)
    await lab().powerOff(gone)
    await write('hd1', 32, 4)
    await write('hd1', 100, 4)
    await detach(lab(), 'v')
    await lab().powerOn(gone)
    await eventually('the server is back', () => lab().json<readonly { name: string; state: string }[]>(['host', 'list']), (hosts) => hosts.every((host) => host.state === 'online'))
    await whole()
    expect(await copies()).to.include('what changed').and.not.to.include('all of it')
    expect(Number(await writtenOn(gone) / MIB), 'MiB written on it since it is back: 12 that were written, 4 that remember it').to.be.lessThan(28)
    await expectEqual()
  })

  it('and so is one whose head was lost with writes in flight, and is given up', async () => {
    await newVolume('128MiB', 2)
    await write('hd1', 0, 4)
    const writer = await startWriter(lab(), 'hd1', path)
    writer.stop().catch(() => undefined)
    await lab().powerOff('hd1')
    await eventually('the head is silent', () => lab().json<readonly { name: string; state: string }[]>(['host', 'list']), (hosts) => hosts.some((host) => host.name === 'hd1' && host.state === 'offline'), 20_000)
    await lab().json(['host', 'fail', 'hd1'])
    await eventually('it is given up', () => show(lab(), 'v'), (volume) => volume.state === 'detached')
    await whole()
    await expectEqual()
    await lab().powerOn('hd1')
    await lab().json(['host', 'use', 'hd1'])
  })

  it('what is remembered is not trusted after an attachment that did not', async () => {
    const before = await newVolume('64MiB', 2)
    await write('hd1', 0, 4)
    await detach(lab(), 'v')
    await lab().json(['setting', 'set', 'volume.changes', '0'])
    await attach(lab(), 'v', 'hd1')
    expect(await lab().must('hd1', ['ls', '/dev/mapper'])).not.to.include('-changes')
    await write('hd1', 8, 4)
    await detach(lab(), 'v')
    await lab().json(['setting', 'set', 'volume.changes', '1'])
    await attach(lab(), 'v', 'hd1')
    const gone = serverOf(before, 1)
    await lab().powerOff(gone)
    await write('hd1', 16, 4)
    await lab().powerOn(gone)
    await whole()
    await expectEqual()
  })

  it('what is remembered is damaged: the volume is there all the same, and all is copied', async () => {
    const before = await newVolume('64MiB', 2)
    await write('hd1', 0, 4)
    await detach(lab(), 'v')
    for (const leg of before.segments[0]?.legs ?? []) {
      await lab().must(leg.host, ['dd', 'if=/dev/urandom', `of=/dev/vsky_${leg.disk}/${leg.extent}`, 'bs=1M', 'seek=64', 'count=1', 'oflag=direct', 'status=none'])
    }
    await attach(lab(), 'v', 'hd1')
    const gone = serverOf(before, 1)
    await lab().powerOff(gone)
    await write('hd1', 16, 4)
    await lab().powerOn(gone)
    await eventually('the server is back', () => lab().json<readonly { name: string; state: string }[]>(['host', 'list']), (hosts) => hosts.every((host) => host.state === 'online'))
    await whole()
    expect(await copies()).to.include('all of it')
    await detach(lab(), 'v')
    await attach(lab(), 'v', 'hd1')
    await write('hd1', 24, 4)
  })

  it('an agent that is killed while a list is made leaves nothing behind, and the copy is made', async () => {
    const before = await newVolume('128MiB', 2)
    const gone = serverOf(before, 1)
    const writer = await startWriter(lab(), 'hd1', path)
    await lab().powerOff(gone)
    await eventually('its leg is stale', () => show(lab(), 'v'), (volume) => volume.health === 'degraded', 30_000)
    await lab().powerOn(gone)
    for (let time = 0; time < 6; time += 1) {
      await lab().must('hd1', ['bash', '-c', 'for n in $(seq 200); do [ -e /run/vsky/copies ] && [ -n "$(ls /run/vsky/copies)" ] && break; sleep 0.05; done'])
      await lab().service('hd1', 'kill9')
    }
    await whole()
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect((await verifyWritten(lab(), 'hd1', path, written)).detail).to.equal('')
    await expectEqual()
    expect(await lab().must('hd1', ['bash', '-c', 'ls /run/vsky/copies; cat /sys/block/loop*/loop/backing_file 2>/dev/null || true'])).to.equal('')
  })
})
