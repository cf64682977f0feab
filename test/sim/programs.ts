/** The programs of a host, as its agent runs them: how long they take, when they are given up, and the small ones themselves. */
import type { RunRequest, RunResult } from '../../lib/ports.js'
import { ask, nothing } from './block.js'
import type { Content } from './block.js'
import { isEra } from './dm-era.js'
import type { Dm } from './dmsetup.js'
import type { Files } from './files.js'
import type { Initiator } from './iscsi.js'
import type { Kernel } from './kernel.js'
import type { Lio } from './lio.js'
import { LoopDevice } from './loop.js'
import type { Lvm } from './lvm.js'

export interface Ended { readonly code: number; readonly out: string; readonly err: string }

/** What a program would change; undefined: it only looks. */
export function effectOf({ file, args, input = '' }: RunRequest): string | undefined {
  const told = `${file} ${args.filter((arg) => !arg.startsWith('-')).join(' ')}`.slice(0, 100).trimEnd()
  switch (file) {
    case 'dmsetup': return args.some((arg) => /^(?:create|load|reload|suspend|resume|remove|message)$/.test(arg)) ? told : undefined
    case 'lvm': {
      const changes = input.split('\n').filter((line) => line !== '' && !line.startsWith('pvs '))
      return changes.length === 0 ? undefined : `lvm ${changes.map((line) => line.split(' ')[0]).join(', ')}`
    }
    case 'iscsiadm': return args.some((arg) => /^(?:--login|--logout|--op|new|update|delete|--rescan)$/.test(arg)) ? `${file} ${args.join(' ')}`.slice(0, 100) : undefined
    case 'wipefs': return args.includes('--all') ? told : undefined
    case 'losetup': return args[0] === '--version' ? undefined : `${file} ${args.join(' ')}`.slice(0, 100)
    case 'sync': case 'blkdiscard': case 'dd': return told
    default: return undefined
  }
}

const good = (out = ''): Ended => ({ code: 0, out, err: '' })
const bad = (err: string): Ended => ({ code: 1, out: '', err })

export interface ProgramsOf {
  readonly kernel: Kernel
  readonly files: Files
  readonly dm: Dm
  readonly lvm: Lvm
  readonly lio: Lio
  readonly initiator: Initiator
}

export class Programs {
  readonly #of: ProgramsOf
  /** What dd copied from devices into small files. */
  readonly #copied = new Map<string, Content>()

  constructor(of: ProgramsOf) {
    this.#of = of
  }

  /** As lib/host/run.ts: settles by its deadline; a program that is given up goes on being carried out by the kernel. */
  run(request: RunRequest): Promise<RunResult> {
    const { kernel } = this.#of
    const began = kernel.timeline.now
    return new Promise((resolve) => {
      let open = true
      const end = (exit: RunResult['exit'], stdout = '', stderr = ''): void => {
        if (!open) return
        open = false
        cancel()
        request.signal?.removeEventListener('abort', onAbort)
        kernel.timeline.touch()
        resolve({ exit, stdout, stderr, durationMs: kernel.timeline.now - began })
      }
      const onAbort = (): void => { end({ kind: 'cancelled' }) }
      const cancel = kernel.after(request.timeoutMs, () => { end({ kind: 'timeout' }) })
      if (request.signal?.aborted === true) {
        onAbort()
        return
      }
      request.signal?.addEventListener('abort', onAbort, { once: true })
      kernel.after(1 + kernel.dice.next() * 6, () => {
        kernel.timeline.touch()
        this.#program(request).then((ended) => { kernel.after(0.5, () => { end({ kind: 'code', code: ended.code }, ended.out, ended.err) }) }, (thrown: unknown) => {
          end({ kind: 'code', code: 99 }, '', `the world does not know how: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
        })
      })
    })
  }

  async #program({ file, args, input = '' }: RunRequest): Promise<Ended> {
    const { dm, lvm, lio, initiator, kernel } = this.#of
    switch (file) {
      case 'dmsetup': return dm.run(args, input)
      case 'lvm': return lvm.run(input)
      case 'iscsiadm': return initiator.iscsiadm(args)
      case 'sync': return await dm.sync(args[0] ?? '') ? good() : bad('sync: error syncing: Input/output error')
      case 'modprobe':
        if (args.includes('target_core_mod')) lio.loaded = true
        return good()
      case 'wipefs': return good()
      case 'dmesg': return good(kernel.log.join('\n'))
      case 'losetup': return this.#losetup(args)
      case 'blkdiscard': return this.#zero(args.at(-1) ?? '')
      case 'dd': return this.#copy(new Map(args.map((arg) => [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)] as const)))
      case 'era_invalidate': return args[0] === '--version' ? good('0.9.0') : this.#changes(Number(args[2]), args[3] ?? '')
      default: throw new Error(`no program ${file}`)
    }
  }

  async #zero(path: string): Promise<Ended> {
    const { kernel } = this.#of
    const device = kernel.find(path)
    if (!device) return bad(`blkdiscard: cannot open ${path}`)
    device.opens += 1
    await kernel.sleep(5 + device.slots * 0.002)
    const wrote = await this.#ask(path, 'write', 0, device.slots)
    const flushed = await this.#ask(path, 'flush', 0, 0)
    device.opens -= 1
    return wrote.outcome === 'ok' && flushed.outcome === 'ok' ? good() : bad('blkdiscard: BLKZEROOUT failed: Input/output error')
  }

  async #ask(path: string, op: 'read' | 'write' | 'flush', slot: number, count: number, data: ReadonlyMap<number, Content> = nothing): ReturnType<typeof ask> {
    const device = this.#of.kernel.find(path)
    if (!device) return { outcome: 'io', data: nothing }
    return ask(device, { op, slot, count, data }, () => { this.#of.kernel.timeline.touch() })
  }

  async #copy(args: ReadonlyMap<string, string>): Promise<Ended> {
    const [from, to] = [args.get('if') ?? '', args.get('of') ?? '']
    const [skip, seek, count] = ['skip', 'seek', 'count'].map((name) => Number(args.get(name) ?? 0) / 4096)
    const failed = bad('dd: error: Input/output error')
    if (from === '/dev/zero') {
      const wrote = await this.#ask(to, 'write', 0, 1)
      return wrote.outcome === 'ok' && (await this.#ask(to, 'flush', 0, 0)).outcome === 'ok' ? good() : failed
    }
    if (!to.startsWith('/dev/')) {
      const { outcome, data } = await this.#ask(from, 'read', skip ?? 0, 1)
      if (outcome !== 'ok') return failed
      await this.#of.files.write(to, '')
      this.#copied.set(to, data.get(0) ?? 0)
      return good()
    }
    const { outcome, data } = await this.#ask(from, 'read', skip ?? 0, count ?? 0)
    if (outcome !== 'ok') return failed
    const wrote = await this.#ask(to, 'write', seek ?? 0, count ?? 0, data)
    return wrote.outcome === 'ok' && (await this.#ask(to, 'flush', 0, 0)).outcome === 'ok' ? good() : failed
  }

  #losetup(args: readonly string[]): Ended {
    const { kernel, files } = this.#of
    if (args[0] === '--version') return good('losetup')
    const path = args.at(-1) ?? ''
    if (args[0] === '--detach') {
      const device = kernel.find(path)
      if (!device || device.holders.size > 0 || device.opens > 0) return bad('losetup: detach failed')
      kernel.remove(device)
      return good()
    }
    const copied = this.#copied
    const device = new LoopDevice(kernel, path, {
      get bytes() {
        const text = files.plain(path)?.text
        return text instanceof Uint8Array ? text : new Uint8Array()
      },
      get content() { return copied.get(path) ?? 0 },
      set content(content) { copied.set(path, content) },
    })
    kernel.add(device)
    return good(`/dev/${device.kernel}\n`)
  }

  /** What was written in an era or later, from a metadata snapshot. */
  async #changes(since: number, path: string): Promise<Ended> {
    const { outcome, data } = await this.#ask(path, 'read', 0, 1)
    const memory = data.get(0)
    if (outcome !== 'ok' || !isEra(memory) || !memory.snapshot) return bad('metadata snapshot not found')
    const blocks = [...memory.snapshot].filter(([, era]) => era >= since).map(([block]) => block).sort((a, b) => a - b)
    return good(`<blocks>\n${blocks.map((block) => `  <block block="${block}"/>\n`).join('')}</blocks>\n`)
  }
}
