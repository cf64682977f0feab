/** Orders that wait in line at the agent's door while those who gave them go away. */
import { expect } from 'chai'
import { createAgentHandler } from '../../../../agent/core/door.js'
import { openEpochs } from '../../../../agent/core/epoch.js'
import type { StorageRole } from '../../../../agent/roles.js'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import type { Log } from '../../../../lib/ports.js'
import { parseConfig } from '../../../../agent/config.js'

const disk = 'd'.repeat(32)
const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => log }

describe('an order in line', () => {
  it('whose caller has gone away is not begun when its turn comes, and one that has begun is carried out to its end', async () => {
    const begun: string[] = []
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => { release = resolve })
    const never = (): Promise<never> => Promise.reject(new Error('nobody asks for this'))
    const storage: StorageRole = {
      start: never, stop: never, observe: never, prepareDisk: never, ensureExtents: never, removeExtents: never, banInitiator: never, localDevice: never,
      async releaseDisk(which) { begun.push(which); if (begun.length === 1) await held },
    }
    const noted: string[] = []
    const handle = createAgentHandler({
      host: 'st1', bootId: 'b', incarnation: 'i', storage, head: undefined, clock: systemClock, log, onChange: () => undefined,
      epochs: await openEpochs({ load: () => Promise.resolve(0), save: () => Promise.resolve() }),
      journal: { note: ({ op, outcome }) => { noted.push(`${op} ${outcome}`) }, flush: () => Promise.resolve() },
    })
    const order = (op: string, signal: AbortSignal): Promise<string> => handle({ peer: { address: 'x', role: 'manager' }, path: '/', requestId: 'r', classic: false, signal }, 'agent.disk.release', [{ epoch: 1, op, disk }])
      .then(() => 'done', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))
    const gone = new AbortController()
    const orders = [order('first', gone.signal), order('second', gone.signal), order('third', new AbortController().signal)]
    await new Promise((resolve) => setImmediate(resolve))
    gone.abort()
    release()
    expect(await Promise.all(orders)).to.deep.equal(['done', 'timed out', 'done'])
    expect(begun).to.have.length(2)
    expect(noted).to.deep.equal(['first done', 'second timed out', 'third done'])
  })
})

describe('a manager\'s address in the configuration', () => {
  it('that no call could go to is refused at start', () => {
    const text = (url: string): string => `name = "h"\nroles = ["head"]\nlisten = "h:1"\nmanagers = ["https://10.0.0.1:8881", "${url}"]\n`
    for (const url of ['https://[bad', 'https://m:99999', 'https://:1']) expect(() => parseConfig(text(url), 'x'), url).to.throw(`managers: expected https://host:port, found "${url}"`)
    expect(parseConfig(text('https://[::1]:8881'), 'x').managers).to.have.length(2)
  })
})
