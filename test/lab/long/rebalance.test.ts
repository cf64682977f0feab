/** Disks are added to full servers: legs move to them under a writer, and whatever is pulled meanwhile, nothing is lost. */
import { expect } from 'chai'
import type { DiskView, JobView, RebalancePlanView } from '../../../lib/api/views.js'
import { leftovers, startWriter, unequalLegs, verifyWritten } from '../../../tools/lab/trial.js'
import { attach, create, detach, eventually, remove, show, useLab } from '../cluster.js'

const MIB = 1024n ** 2n
const names = ['v1', 'v2', 'v3', 'v4', 'v5', 'v6']

describe('a rebalance, on real kernels', () => {
  const lab = useLab('t-rebalance', { disks: 1, heads: 1, diskBytes: 512n * MIB, extentSize: '64MiB' })
  const plan = (): Promise<RebalancePlanView> => lab().json<RebalancePlanView>(['rebalance', '--plan'])

  it('new disks take their share of legs, of volumes in use and not; a manager and a server that fail meanwhile cost no write', async function shares() {
    this.timeout(420_000)
    for (const name of names) await create(lab(), name, '64MiB', 2)
    for (const name of ['v1', 'v2']) {
      await attach(lab(), name, 'hd1')
      await lab().must('hd1', ['dd', 'if=/dev/urandom', `of=/dev/vsky/${name}`, 'bs=1M', 'count=64', 'oflag=direct', 'status=none'])
    }
    expect((await plan()).legs, 'nothing has to move between disks that are equally full').to.equal(0)
    for (const host of ['st1', 'st2', 'st3']) await lab().json(['disk', 'add', host, await lab().faults.add(host, 512n * MIB)])
    const wished = await eventually('the new disks can be given legs', plan, ({ legs, balanced }) => legs >= 6 && balanced)
    expect(wished.moves.every(({ from, to }) => from.endsWith('disk1') && to.endsWith('disk2'))).to.equal(true)

    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v1')
    const job = await lab().json<JobView>(['rebalance', '--apply', '--yes'])
    expect(job.bytes).to.equal(wished.bytes)
    await eventually('a leg has moved', () => lab().json<JobView>(['job', 'show', job.id]), ({ doneBytes }) => BigInt(doneBytes) > 0n)
    await lab().service('mgr1', 'kill9')
    await lab().powerOff('st2')
    await new Promise((resolve) => setTimeout(resolve, 8000))
    await lab().powerOn('st2')
    await lab().waitRegistered()
    const ended = await eventually('the rebalance has ended', () => lab().json<JobView>(['job', 'show', job.id]), ({ state }) => state !== 'running' && state !== 'waiting', 180_000)
    expect(ended.state, ended.note).to.equal('done')

    // Where a leg moved away its place is free when it has been overwritten, which a server that was away does later.
    await eventually('twelve legs on six disks', () => lab().json<readonly DiskView[]>(['disk', 'list']), (disks) => disks.length === 6 && disks.every((disk) => disk.extents === 2), 90_000)
    await eventually('all is whole', () => Promise.all(names.map((name) => show(lab(), name))), (all) => all.every(({ segments }) => segments.every(({ legs }) => legs.length === 2 && legs.every((leg) => leg.state === 'insync'))), 90_000)
    const written = await writer.stop()
    expect(written.error, 'the writer met no error').to.equal('')
    expect(await verifyWritten(lab(), 'hd1', '/dev/vsky/v1', written)).to.deep.equal({ lost: 0, detail: '' })
    for (const name of ['v1', 'v2']) await detach(lab(), name)
    for (const name of names) expect(await unequalLegs(lab(), name)).to.deep.equal([])
    for (const name of names) await remove(lab(), name)
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })
})
