/** A cluster for one file of lab tests: up before the first test, down after the last, its logs shown when a test failed. */
import { expect } from 'chai'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VolumeView } from '../../lib/api/views.js'
import { messageOf } from '../../lib/faults.js'
import { Lab } from '../../tools/lab/lab.js'
import { defaultWish } from '../../tools/lab/plan.js'
import type { LabWish } from '../../tools/lab/plan.js'

export const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

export function useLab(name: string, wish: Partial<LabWish>): () => Lab {
  let lab: Lab | undefined
  before(async function up() {
    this.timeout(150_000)
    await Lab.down(name) // what a killed run may have left
    lab = await Lab.up({ ...defaultWish, diskBytes: 1024n ** 3n, extentSize: '256MiB', ...wish, name, dist })
  })
  afterEach(async function showLogs() {
    if (this.currentTest?.state !== 'failed' || !lab) return
    for (const host of lab.hosts.filter((each) => lab?.powered(each.name))) {
      const log = await lab.logs(host.name, { lines: 12 }).catch(() => 'no log')
      console.log(`--- ${host.name}\n${log}`)
    }
  })
  after(async () => { await Lab.down(name) })
  return () => {
    if (!lab) throw new Error(`lab ${name} is not up`)
    return lab
  }
}

export async function create(lab: Lab, name: string, size: string, redundancy = 2): Promise<VolumeView> {
  return lab.json<VolumeView>(['volume', 'create', name, '--size', size, '--redundancy', String(redundancy)])
}

export async function attach(lab: Lab, name: string, host: string): Promise<VolumeView> {
  return lab.json<VolumeView>(['volume', 'attach', name, '--host', host])
}

export async function detach(lab: Lab, name: string): Promise<VolumeView> {
  return lab.json<VolumeView>(['volume', 'detach', name])
}

export async function remove(lab: Lab, name: string): Promise<void> {
  await lab.json(['volume', 'delete', name])
}

export async function show(lab: Lab, name: string): Promise<VolumeView> {
  return lab.json<VolumeView>(['volume', 'show', name])
}

/** Asks until `good` says so; the claim is told when it never does. */
export async function eventually<T>(claim: string, ask: () => Promise<T>, good: (value: T) => boolean, timeoutMs = 60_000): Promise<T> {
  const until = performance.now() + timeoutMs
  let last: T | undefined
  let failure: unknown
  while (performance.now() < until) {
    try {
      last = await ask()
      failure = undefined
      if (good(last)) return last
    } catch (thrown) {
      failure = thrown
    }
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  throw new Error(`within ${timeoutMs / 1000} s never: ${claim}; last: ${failure === undefined ? JSON.stringify(last)?.slice(0, 600) ?? 'nothing' : messageOf(failure)}`)
}

/** A command that must be refused: its exit code, and the name of its fault. */
export async function refused(lab: Lab, args: readonly string[], code: number, error: string): Promise<string> {
  const result = await lab.vsky([...args, '--json'])
  expect(result.code, `exit code of vsky ${args.join(' ')}: ${result.stderr}`).to.equal(code)
  const fault = JSON.parse(result.stderr) as { error: string; message: string }
  expect(fault.error).to.equal(error)
  expect(fault.message.length).to.be.greaterThan(10)
  return fault.message
}

/** SHA-256 of a whole device, as a host reads it. */
export async function digestOf(lab: Lab, host: string, device: string): Promise<string> {
  return (await lab.must(host, ['bash', '-c', `dd if=${device} bs=1M status=none | sha256sum`], { timeoutMs: 120_000 })).slice(0, 64)
}
