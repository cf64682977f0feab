/**
 * `npm run bench -- --memory`: what it costs that changes are remembered. One volume of two legs is attached with and without in turn, so that
 * both write to the same blocks of the same disks over the same paths; the order changes from round to round. Options: --rounds N (7), --seconds S (3).
 */
import type { VolumeView } from '../lib/api/views.js'
import { table } from '../tools/cli/print.js'
import { Lab } from '../tools/lab/lab.js'
import { defaultWish } from '../tools/lab/plan.js'
import { median } from './figures.js'
import { FIO_MIB, fio, fioJobs } from './fio.js'
import { fill, makeVolume } from './volumes.js'

const NAME = 'bench'
const MEBIBYTES = 256

export async function memoryBench({ dist, rounds, seconds }: { readonly dist: string; readonly rounds: number; readonly seconds: number }): Promise<void> {
  const jobs = fioJobs.filter((job) => job.of === 'write')
  const ratios = new Map<string, number[]>(jobs.map((job) => [job.name, []]))
  const rates = new Map<string, number[]>()
  await Lab.down(NAME)
  const lab = await Lab.up({ ...defaultWish, name: NAME, heads: 1, diskBytes: 1024n * 1024n ** 2n, dist }, (line) => { console.log(line) })
  try {
    await new Promise((resolve) => setTimeout(resolve, 8000)) // the disks are cleaned in the background meanwhile
    let { device } = await makeVolume(lab, 'm', { legs: 2, head: 'hd1', mebibytes: MEBIBYTES })
    await fill(lab, 'hd1', device, FIO_MIB)
    for (let round = 0; round < rounds; round += 1) {
      const found = new Map<string, number>()
      for (const remembers of round % 2 === 0 ? [true, false] : [false, true]) {
        await lab.json(['volume', 'detach', 'm'])
        await lab.json(['setting', 'set', 'volume.changes', remembers ? '1' : '0', '--volume', 'm']);
        ({ device } = await lab.json<VolumeView>(['volume', 'attach', 'm', '--host', 'hd1']))
        for (const job of jobs) {
          const { rate } = await fio(lab, 'hd1', device, job, seconds)
          found.set(`${job.name} ${remembers}`, rate)
          rates.set(`${job.name} ${remembers}`, [...rates.get(`${job.name} ${remembers}`) ?? [], rate])
        }
      }
      for (const { name } of jobs) ratios.get(name)?.push((found.get(`${name} true`) ?? 0) / Math.max(1, found.get(`${name} false`) ?? 1))
      console.log(`round ${round + 1} of ${rounds} done`)
    }
  } finally {
    await lab.down()
  }
  const all = (name: string): readonly number[] => ratios.get(name) ?? []
  const rate = (name: string, remembers: boolean): string => median(rates.get(`${name} ${remembers}`) ?? []).toFixed(0)
  console.log(`\nOne volume of 2 legs, ${rounds} rounds of ${seconds} s: operations a second, medians, and the ratio with to without of each round:`)
  console.log(table(jobs, [
    { title: 'JOB', of: (job) => job.name }, { title: 'WITH', of: ({ name }) => rate(name, true), right: true }, { title: 'WITHOUT', of: ({ name }) => rate(name, false), right: true },
    { title: 'MEDIAN', of: ({ name }) => median(all(name)).toFixed(2), right: true }, { title: 'RATIOS', of: ({ name }) => all(name).map((value) => value.toFixed(2)).join(' ') },
  ]))
}
