/** `npm run fuzz -- --seed N --requests M`: ends with 1 when a promise was broken. */
import { parseArgs } from 'node:util'
import { startManager } from '../support/manager.js'
import { fuzz } from './run.js'

const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, requests: { type: 'string', default: '200000' } } })
const [seed, requests] = [Number(values.seed), Number(values.requests)]
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(requests) || requests < 1) throw new Error('usage: npm run fuzz -- --seed N --requests M')
const rig = await startManager({ deadlineMs: 2_000 })
let told = performance.now()
const report = await fuzz(rig, {
  seed, requests,
  onRound(done) {
    if (performance.now() - told < 10_000) return
    told = performance.now()
    console.log(`${done} of ${requests} requests, ${Math.round(process.memoryUsage.rss() / 1024 / 1024)} MiB`)
  },
})
await rig.stop()
const { broken, ...figures } = report
console.log(JSON.stringify({ seed, ...figures, grownMiB: Math.round(figures.grownBytes / 1024 / 1024), peakMiB: Math.round(figures.peakBytes / 1024 / 1024) }, undefined, 2))
for (const each of broken) console.error(each)
console.log(broken.length === 0 ? `held: every promise, over ${requests} requests of seed ${seed}` : `BROKEN: ${broken.length} promises, seed ${seed}`)
process.exit(broken.length === 0 ? 0 : 1)
