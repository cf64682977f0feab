/** A session that does not come back by itself, though the manager hears its server well. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { leftovers, startWriter, unequalLegs, verifyWritten } from '../../../tools/lab/trial.js'
import { attach, create, detach, digestOf, eventually, remove, show, useLab } from '../cluster.js'

describe('a session that is not logged in to again, on real kernels', () => {
  const lab = useLab('t-astray', { storage: 2, heads: 1, diskBytes: 512n * 1024n ** 2n, extentSize: '64MiB' })
  const sessionTo = async (server: string): Promise<string> => (await lab().must('hd1', ['bash', '-c', `grep -lx iqn.2026-11.io.vsky:storage.${server} /sys/class/iscsi_session/*/targetname || true`])).trim()

  it('is ended under what stands on it, and made anew: what waited goes on, and what was idle on it is whole', async () => {
    await create(lab(), 'idle', '64MiB')
    await attach(lab(), 'idle', 'hd1')
    await lab().must('hd1', ['bash', '-c', 'dd if=/dev/urandom of=/dev/vsky/idle bs=1M count=32 oflag=direct status=none'])
    const before = await digestOf(lab(), 'hd1', '/dev/vsky/idle')
    await create(lab(), 'v', '64MiB', 1)
    const server = (await attach(lab(), 'v', 'hd1')).segments[0]?.legs[0]?.host ?? ''
    const first = await sessionTo(server)
    expect(first).to.match(/session\d+/)
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await pause(2000)
    await lab().cut({ from: 'hd1', to: server, plane: 'data', oneWay: false, above: 90 }) // its portal can be connected to, and no login succeeds
    await eventually('it is ended', () => sessionTo(server), (session) => session !== first, 60_000)
    await lab().heal()
    await eventually('there is another', () => sessionTo(server), (session) => session !== '' && session !== first, 60_000)
    await eventually('no I/O waits', () => show(lab(), 'v'), (volume) => volume.health === 'full', 60_000)
    await pause(3000)
    const written = await writer.stop()
    expect(written.error, 'the writer met no error').to.equal('')
    expect((await verifyWritten(lab(), 'hd1', '/dev/vsky/v', written)).detail, 'every acknowledged write is there').to.equal('')
    await lab().must('hd1', ['bash', '-c', 'dd if=/dev/vsky/idle of=/dev/vsky/idle bs=1M count=4 skip=28 seek=28 iflag=direct oflag=direct status=none'])
    await eventually('the idle one is whole', () => show(lab(), 'idle'), (volume) => volume.health === 'full', 90_000)
    expect(await digestOf(lab(), 'hd1', '/dev/vsky/idle')).to.equal(before)
    expect(await unequalLegs(lab(), 'idle')).to.deep.equal([])
    for (const name of ['v', 'idle']) {
      await detach(lab(), name)
      await remove(lab(), name)
    }
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })
})
