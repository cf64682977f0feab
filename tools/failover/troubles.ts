/** What befalls the active manager, each trouble from its beginning until it is over. */
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { ask } from '../lab/ask.js'
import type { Lab } from '../lab/lab.js'
import { hasAgent } from '../lab/plan.js'

export const troubles = [
  'killed', 'paused for 5 s', 'paused for 20 s', 'paused for 60 s', 'cut off from the database', 'cut off from the agents', 'cut off from all', 'without power', 'handing over',
] as const
export type Trouble = (typeof troubles)[number]

/** How long a cut or a dark host lasts, ms: three times as long as the lease. */
const LASTS_MS = 18_000

export async function suffer(lab: Lab, active: string, trouble: Trouble): Promise<void> {
  switch (trouble) {
    case 'killed':
      await lab.service(active, 'kill9') // and started again after a second
      return
    case 'paused for 5 s': return paused(lab, active, 5000)
    case 'paused for 20 s': return paused(lab, active, 20_000)
    case 'paused for 60 s': return paused(lab, active, 60_000)
    case 'cut off from the database': return cutOff(lab, active, ['db1'])
    case 'cut off from the agents': return cutOff(lab, active, lab.hosts.filter(hasAgent).map((host) => host.name))
    case 'cut off from all': return cutOff(lab, active, [undefined])
    case 'without power':
      await lab.powerOff(active)
      await pause(LASTS_MS)
      await lab.powerOn(active)
      return
    case 'handing over':
      await ask(lab, 'managerHandOver', { request: `lab-${randomBytes(8).toString('hex')}` })
  }
}

async function paused(lab: Lab, active: string, ms: number): Promise<void> {
  await lab.service(active, 'pause')
  await pause(ms)
  await lab.service(active, 'resume')
}

async function cutOff(lab: Lab, active: string, from: readonly (string | undefined)[]): Promise<void> {
  for (const to of from) await lab.cut({ from: active, ...(to === undefined ? {} : { to }), plane: 'control', oneWay: false })
  await pause(LASTS_MS)
  await lab.heal()
}
