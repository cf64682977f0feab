import { expect } from 'chai'
import { createDmsetup } from '../../../../agent/dm/dmsetup.js'
import type { Run } from '../../../../lib/ports.js'

/** A runner that notes what it is given; all of it ends well, or never. */
function runner(ends: boolean): { readonly run: Run; readonly verbs: string[] } {
  const verbs: string[] = []
  return { verbs, run: ({ args }) => {
    verbs.push(args[0] ?? '')
    return ends ? Promise.resolve({ exit: { kind: 'code', code: 0 }, stdout: '', stderr: '', durationMs: 0 }) : new Promise(() => undefined)
  } }
}

describe('dmsetup', () => {
  it('lets what waits for I/O take no place of what lets that I/O go on', async () => {
    const [quick, holding, waiting] = [runner(true), runner(false), runner(false)]
    const dm = createDmsetup({ run: quick.run, holding: holding.run, waiting: waiting.run, udev: true })
    for (const stuck of [dm.suspend('a'), dm.resume('a'), dm.remove(['a']), dm.reload('a', ['0 8 error']), dm.fail('a', 8n)]) stuck.catch(() => undefined)
    void dm.wait('a', 1, new AbortController().signal)
    await Promise.all([dm.load('b', ['0 8 error']), dm.message('b', 'fail_if_no_path'), dm.status(['b']), dm.create([{ name: 'b', uuid: 'u', table: ['0 8 error'] }]), dm.state(), dm.counters()])
    expect([holding.verbs.sort(), waiting.verbs]).to.deep.equal([['remove', 'resume', 'resume', 'resume', 'suspend'], ['wait']])
    expect(quick.verbs).to.include.members(['load', 'message', 'status', 'create', 'info', 'table']).and.not.to.include('resume')
  })
})
