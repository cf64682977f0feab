/** fio on a host of the lab: the jobs that candidates are compared by, and what one of them gives. */
import type { Lab } from '../tools/lab/lab.js'

export interface FioJob {
  readonly name: string
  readonly of: 'read' | 'write'
  readonly args: readonly string[]
}

export const randomWrite = (depth: number): FioJob => ({ name: `4k random write, depth ${depth}`, of: 'write', args: ['--rw=randwrite', '--bs=4k', `--iodepth=${depth}`] })
export const randomRead = (depth: number): FioJob => ({ name: `4k random read, depth ${depth}`, of: 'read', args: ['--rw=randread', '--bs=4k', `--iodepth=${depth}`] })

export const fioJobs: readonly FioJob[] = [
  randomWrite(1), randomWrite(16), randomRead(1), randomRead(16),
  { name: '128k sequential write, depth 8', of: 'write', args: ['--rw=write', '--bs=128k', '--iodepth=8'] }, { name: '128k sequential read, depth 8', of: 'read', args: ['--rw=read', '--bs=128k', '--iodepth=8'] },
]

/** How much of a device the jobs use, from its beginning, MiB. */
export const FIO_MIB = 192

export interface FioResult {
  /** Operations a second. */
  readonly rate: number
  /** 99th percentile of the time of one, ms. */
  readonly p99Ms: number
}

/** One run, O_DIRECT, on the first FIO_MIB of a device. */
export async function fio(lab: Lab, host: string, device: string, job: FioJob, seconds: number): Promise<FioResult> {
  const text = await lab.must(host, [
    'fio', '--name=j', `--filename=${device}`, '--direct=1', '--ioengine=libaio', `--runtime=${seconds}`, '--time_based', `--size=${FIO_MIB}M`, '--output-format=json', '--thread', ...job.args,
  ], { timeoutMs: (seconds + 30) * 1000 })
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as { jobs: readonly Record<'read' | 'write', { iops: number; clat_ns: { percentile?: Record<string, number> } }>[] }
  const result = jobs[0]?.[job.of]
  return { rate: result?.iops ?? 0, p99Ms: (result?.clat_ns.percentile?.['99.000000'] ?? 0) / 1e6 }
}
