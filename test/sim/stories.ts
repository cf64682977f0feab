/** What is played again for every point at which the manager or an agent can die in it (kills.ts). */
import type { Stage } from './stage.js'

export interface Story {
  readonly name: string
  /** What is there before the first point counts. */
  readonly before: (stage: Stage) => Promise<void>
  /** Points are counted from its first call until all is whole again. */
  readonly play: (stage: Stage) => Promise<void>
}

/** After it the head is at work on what was asked for. */
const UNDER_WAY_MS = 40

const attached = async (stage: Stage): Promise<void> => {
  await stage.create()
  await stage.attach('hd1')
  await stage.world.run(2000)
}

const written = async (stage: Stage): Promise<void> => {
  await attached(stage)
  await stage.detach()
}

export const stories: readonly Story[] = [
  { name: 'create', before: () => Promise.resolve(), play: (stage) => stage.create() },
  { name: 'attach', before: (stage) => stage.create(), play: (stage) => stage.attach('hd1') },
  { name: 'detach', before: attached, play: (stage) => stage.detach() },
  { name: 'delete', before: written, play: (stage) => stage.delete() },
  { name: 'move', before: attached, async play(stage) {
    await stage.detach()
    await stage.attach('hd2')
  } },
  { name: 'move from a lost head', before: attached, async play(stage) {
    stage.powerOff('hd1')
    await stage.fail('hd1')
    await stage.attach('hd2', { fromDeadHost: true })
    stage.powerOn('hd1')
    await stage.use('hd1')
  } },
  { name: 'attach to a head that is lost meanwhile', before: (stage) => stage.create(), async play(stage) {
    const asked = stage.unlessRefused(() => stage.attach('hd1'))
    await stage.world.timeline.sleep(UNDER_WAY_MS)
    await stage.fail('hd1')
    await asked
    await stage.takenFrom('hd1')
    await stage.use('hd1')
  } },
  { name: 'detach from a head that is lost meanwhile', before: attached, async play(stage) {
    const asked = stage.unlessRefused(() => stage.detach())
    await stage.world.timeline.sleep(UNDER_WAY_MS)
    await stage.fail('hd1')
    await stage.attach('hd2', { fromDeadHost: true })
    await asked
    await stage.use('hd1')
  } },
  { name: 'detach while a leg is lost', before: attached, async play(stage) {
    const { host } = stage.firstLeg()
    const asked = stage.detach()
    await stage.world.timeline.sleep(UNDER_WAY_MS)
    stage.powerOff(host)
    await asked
    stage.powerOn(host)
  } },
  { name: 'repair', async before(stage) {
    await stage.set('repair.grace', 5)
    await attached(stage)
  }, async play(stage) {
    const { host } = stage.firstLeg()
    stage.powerOff(host)
    await stage.movedFrom(host)
    stage.powerOn(host)
  } },
  { name: 'catch up', before: attached, async play(stage) {
    const { host } = stage.firstLeg()
    stage.powerOff(host)
    await stage.world.run(20_000)
    stage.powerOn(host)
  } },
  { name: 'evacuate', before: attached, play: (stage) => stage.evacuate() },
  { name: 'rebalance', async before(stage) {
    await attached(stage)
    await stage.evacuate()
  }, play: (stage) => stage.rebalance() },
  { name: 'evacuate detached', before: written, play: (stage) => stage.evacuate() },
]
