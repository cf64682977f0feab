import { expect } from 'chai'
import type { Lab } from '../../tools/lab/lab.js'
import { leftovers, startWriter, verifyWritten } from '../../tools/lab/trial.js'
import { attach, create, detach, digestOf, eventually, remove, show, useLab } from './cluster.js'

describe('pulling plugs, on real kernels', () => {
  const lab = useLab('t-crash', { diskBytes: 640n * 1024n ** 2n })
  afterEach(async () => {
    await lab().waitRegistered()
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })

  /** Kills the manager some time into a command; the command goes on by itself and must succeed. */
  async function killDuring(afterMs: number, command: () => Promise<unknown>): Promise<void> {
    const done = command()
    done.catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    await lab().service('mgr1', 'kill9')
    await done
  }

  // A command takes 0.3 s to start and some 1.5 s in all: once near the intent, once near the answer. All steps in between: npm run sim:kills.
  for (const afterMs of [450, 1100]) {
    it(`the manager is killed ${afterMs} ms into create, attach, detach and delete: each is done once, as if nothing had happened`, async () => {
      await killDuring(afterMs, () => create(lab(), 'v', '300MiB', 2))
      await lab().waitRegistered()
      expect(await lab().json<readonly unknown[]>(['volume', 'list'])).to.have.length(1)
      await killDuring(afterMs, () => attach(lab(), 'v', 'hd1'))
      await lab().must('hd1', ['bash', '-c', 'head -c 4096 /dev/urandom | dd of=/dev/vsky/v conv=fsync status=none'])
      const volume = await show(lab(), 'v')
      expect(volume.segments.map((segment) => segment.generation)).to.deep.equal([1, 1])
      await lab().waitRegistered()
      await killDuring(afterMs, () => detach(lab(), 'v'))
      await lab().waitRegistered()
      await killDuring(afterMs, () => remove(lab(), 'v'))
    })
  }

  it('a volume keeps serving with the manager dead', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    await lab().service('mgr1', 'stop')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await new Promise((resolve) => setTimeout(resolve, 3000))
    const written = await writer.stop()
    expect(written.error).to.equal('')
    expect(written.writes).to.be.greaterThan(10)
    await lab().service('mgr1', 'start')
    await lab().waitRegistered()
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('a storage server loses power under a writer: writes pause and go on, its leg is stale, its exports come back', async () => {
    await create(lab(), 'v', '64MiB', 3)
    await attach(lab(), 'v', 'hd1')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().powerOff('st2')
    const degraded = await eventually('the leg on st2 is stale', () => show(lab(), 'v'), (volume) => volume.segments[0]?.legs.find((leg) => leg.host === 'st2')?.state === 'stale')
    expect(degraded.segments[0]?.generation).to.equal(2)
    expect(degraded.segments[0]?.legs.filter((leg) => leg.state === 'insync')).to.have.length(2)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const written = await writer.stop()
    expect(written.error).to.equal('')
    await lab().powerOn('st2')
    await lab().waitRegistered()
    await eventually('st2 exports again', () => exportsOf(lab(), 'st2'), (count) => count === 1)
    expect(await verifyWritten(lab(), 'hd1', '/dev/vsky/v', written)).to.deep.equal({ lost: 0, detail: '' })
    await detach(lab(), 'v')
    await attach(lab(), 'v', 'hd2')
    expect(await verifyWritten(lab(), 'hd2', '/dev/vsky/v', written)).to.deep.equal({ lost: 0, detail: '' })
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('a storage server reboots while the volume is detached: its leg is still good', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    await lab().must('hd1', ['bash', '-c', 'head -c 1048576 /dev/urandom | dd of=/dev/vsky/v conv=fsync status=none'])
    const before = await digestOf(lab(), 'hd1', '/dev/vsky/v')
    await detach(lab(), 'v')
    const server = (await show(lab(), 'v')).segments[0]?.legs[0]?.host ?? ''
    await lab().powerOff(server)
    await eventually('it is offline', () => lab().json<{ state: string }>(['host', 'show', server]), (host) => host.state === 'offline')
    await lab().powerOn(server)
    await lab().waitRegistered()
    const attached = await attach(lab(), 'v', 'hd2')
    expect(attached.segments[0]?.legs.map((leg) => leg.state)).to.deep.equal(['insync', 'insync'])
    expect(await digestOf(lab(), 'hd2', '/dev/vsky/v')).to.equal(before)
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('exports come back after a reboot with no manager at all', async () => {
    await create(lab(), 'v', '64MiB', 3)
    await attach(lab(), 'v', 'hd1')
    await lab().service('mgr1', 'stop')
    await lab().powerOff('st3')
    await lab().powerOn('st3')
    await eventually('st3 exports again', () => exportsOf(lab(), 'st3'), (count) => count === 1)
    await lab().service('mgr1', 'start')
    await lab().waitRegistered()
    // Its leg is in doubt, for a head had the volume meanwhile: while that lets go, its way to the leg is shut.
    await detach(lab(), 'v')
    await remove(lab(), 'v')
  })

  it('a head loses power under a writer: it is assembled again there, copied from one leg, and nothing acknowledged is lost', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().must('hd1', ['bash', '-c', 'head -c 4096 /dev/urandom > /run/x; dd if=/run/x of=/dev/vsky/v seek=8192 bs=4096 conv=fsync,notrunc status=none'])
    const known = await lab().must('hd1', ['sha256sum', '/run/x'])
    await lab().powerOff('hd1')
    await writer.stop().catch(() => undefined)
    await lab().powerOn('hd1')
    await lab().waitRegistered()
    const back = await eventually('it is up again', () => show(lab(), 'v'), (volume) => volume.state === 'attached' && (volume.segments[0]?.generation ?? 0) >= 2)
    expect(back.head).to.equal('hd1')
    expect((await lab().must('hd1', ['bash', '-c', 'dd if=/dev/vsky/v skip=8192 bs=4096 count=1 status=none | sha256sum'])).slice(0, 64)).to.equal(known.slice(0, 64))
    await eventually('both legs are in sync again', () => show(lab(), 'v'), (volume) => volume.segments.every((segment) => segment.legs.every((leg) => leg.state === 'insync')))
    await detach(lab(), 'v')
    const [first, second] = (await show(lab(), 'v')).segments[0]?.legs ?? []
    const sums = await Promise.all([first, second].map((leg) => lab().must(leg?.host ?? '', ['bash', '-c', `head -c 67108864 /dev/vsky_*/${leg?.extent ?? ''} | sha256sum`])))
    expect(sums[0], 'the legs are equal').to.equal(sums[1])
    await remove(lab(), 'v')
  })

  it('a volume is deleted while a server is away: the rest is free at once, and the server is cleaned when it returns', async () => {
    await create(lab(), 'v', '64MiB', 3)
    await lab().powerOff('st1')
    await eventually('it is offline', () => lab().json<{ state: string }>(['host', 'show', 'st1']), (host) => host.state === 'offline')
    await remove(lab(), 'v')
    await lab().powerOn('st1')
  })
})

async function exportsOf(lab: Lab, host: string): Promise<number> {
  return Number(await lab.must(host, ['bash', '-c', 'ls -d /sys/kernel/config/target/iscsi/iqn*/tpgt_1/lun/lun_* 2>/dev/null | wc -l']))
}
