/**
 * A host's files: plain ones, and trees that a kernel or a tool shows as files (mounts). Plain files are what the product writes durably;
 * what was written without a sync may be gone after a power failure, as on a real disk.
 */
export type Entry = { readonly kind: 'directory' } | { readonly kind: 'file'; readonly text: string | Uint8Array } | { readonly kind: 'link'; readonly to: string } | { readonly kind: 'block'; readonly rdev: number }

export function errno(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}

/** A tree of its own below a path. Absent members: not possible there. */
export interface Mount {
  look(path: readonly string[]): Entry | undefined
  list(path: readonly string[]): readonly (readonly [name: string, kind: 'directory' | 'file' | 'link'])[] | undefined
  write?(path: readonly string[], text: string): Promise<void>
  mkdir?(path: readonly string[]): Promise<void>
  rmdir?(path: readonly string[]): Promise<void>
  symlink?(to: string, path: readonly string[]): Promise<void>
  unlink?(path: readonly string[]): Promise<void>
}

interface PlainFile { text: string | Uint8Array; synced: boolean; link: boolean }

export class Files {
  readonly #plain = new Map<string, PlainFile>()
  readonly #directories = new Set<string>(['/'])
  readonly mounts = new Map<string, Mount>()
  /** Device nodes in /dev. */
  nodes: (path: string) => Entry | undefined = () => undefined

  #mountOf(path: string): readonly [Mount, readonly string[]] | undefined {
    let best = ''
    for (const prefix of this.mounts.keys()) if ((path === prefix || path.startsWith(`${prefix}/`)) && prefix.length > best.length) best = prefix
    const mount = this.mounts.get(best)
    return mount && [mount, path.slice(best.length).split('/').filter((part) => part !== '')]
  }

  look(path: string): Entry | undefined {
    const mounted = this.#mountOf(path)
    if (mounted) {
      const [mount, parts] = mounted
      return mount.look(parts) ?? (mount.list(parts) ? { kind: 'directory' } : undefined)
    }
    const file = this.#plain.get(path)
    const node = path.startsWith('/dev/') ? this.nodes(path) : undefined
    if (node) return node
    if (file) return file.link ? { kind: 'link', to: String(file.text) } : { kind: 'file', text: file.text }
    return this.#directories.has(path) ? { kind: 'directory' } : undefined
  }

  list(path: string): readonly (readonly [string, 'directory' | 'file' | 'link'])[] | undefined {
    const mounted = this.#mountOf(path)
    if (mounted) return mounted[0].list(mounted[1])
    if (!this.#directories.has(path)) return undefined
    const inside = (each: string): string | undefined => {
      if (!each.startsWith(`${path}/`)) return undefined
      const rest = each.slice(path.length + 1)
      return rest.includes('/') ? undefined : rest
    }
    return [
      ...[...this.#directories].flatMap((each) => { const name = inside(each); return name === undefined ? [] : [[name, 'directory'] as const] }),
      ...[...this.#plain].flatMap(([each, file]) => { const name = inside(each); return name === undefined ? [] : [[name, file.link ? 'link' : 'file'] as const] }),
    ].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  async write(path: string, text: string | Uint8Array): Promise<void> {
    const mounted = this.#mountOf(path)
    if (mounted) {
      if (!mounted[0].write) throw errno('EACCES', path)
      await mounted[0].write(mounted[1], String(text))
      return
    }
    this.#needParent(path)
    this.#plain.set(path, { text, synced: false, link: false })
  }

  /** The bytes of a plain file as they are, to be changed in place. */
  plain(path: string): PlainFile | undefined {
    return this.#plain.get(path)
  }

  sync(path: string): void {
    const file = this.#plain.get(path)
    if (file) file.synced = true
  }

  rename(from: string, to: string): void {
    const file = this.#plain.get(from)
    if (!file) throw errno('ENOENT', from)
    this.#plain.delete(from)
    this.#plain.set(to, file)
  }

  async mkdir(path: string, recursive: boolean): Promise<void> {
    const mounted = this.#mountOf(path)
    if (mounted) {
      if (this.look(path)) {
        if (recursive) return
        throw errno('EEXIST', path)
      }
      if (!mounted[0].mkdir) throw errno('EACCES', path)
      await mounted[0].mkdir(mounted[1])
      return
    }
    if (this.#plain.has(path) || (!recursive && this.#directories.has(path))) throw errno('EEXIST', path)
    if (!recursive) this.#needParent(path)
    const parts = path.split('/')
    for (let at = 2; at <= parts.length; at += 1) this.#directories.add(parts.slice(0, at).join('/'))
  }

  async rmdir(path: string): Promise<void> {
    const mounted = this.#mountOf(path)
    if (mounted) {
      if (!this.look(path)) throw errno('ENOENT', path)
      if (!mounted[0].rmdir) throw errno('EACCES', path)
      await mounted[0].rmdir(mounted[1])
      return
    }
    if (!this.#directories.delete(path)) throw errno('ENOENT', path)
  }

  async symlink(to: string, path: string): Promise<void> {
    const mounted = this.#mountOf(path)
    if (this.look(path)) throw errno('EEXIST', path)
    if (mounted) {
      if (!mounted[0].symlink) throw errno('EACCES', path)
      await mounted[0].symlink(to, mounted[1])
      return
    }
    this.#needParent(path)
    this.#plain.set(path, { text: to, synced: true, link: true })
  }

  async unlink(path: string): Promise<void> {
    const mounted = this.#mountOf(path)
    if (mounted) {
      if (!this.look(path)) throw errno('ENOENT', path)
      if (!mounted[0].unlink) throw errno('EACCES', path)
      await mounted[0].unlink(mounted[1])
      return
    }
    if (!this.#plain.delete(path)) throw errno('ENOENT', path)
  }

  remove(path: string, recursive: boolean): void {
    this.#plain.delete(path)
    if (!recursive) return
    for (const each of [...this.#plain.keys()]) if (each.startsWith(`${path}/`)) this.#plain.delete(each)
    for (const each of [...this.#directories]) if (each === path || each.startsWith(`${path}/`)) this.#directories.delete(each)
  }

  #needParent(path: string): void {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/'
    if (!this.#directories.has(parent)) throw errno('ENOENT', path)
  }

  /** Power is gone: files that were never synced are empty or gone, /run, /dev and what the kernel showed are new. */
  powerLoss(lost: () => boolean): void {
    this.mounts.clear()
    for (const [path, file] of [...this.#plain]) {
      if (/^\/(run|dev|tmp)\//.test(path) || (!file.synced && lost())) this.#plain.delete(path)
    }
    for (const path of [...this.#directories]) if (/^\/(run|dev|tmp)\//.test(path)) this.#directories.delete(path)
    for (const path of ['/run', '/dev', '/tmp']) this.#directories.add(path)
  }

  /** Every plain file below a path. */
  under(prefix: string): readonly string[] {
    return [...this.#plain.keys()].filter((path) => path.startsWith(prefix)).sort()
  }
}
