/**
 * Hooks of Node's module loader (node:module register): in the product's modules a few imports lead to stand-ins, and nothing else of
 * the product is touched. So what is simulated is what runs in production, file by file. A mutant (mutants.ts) is a change of one
 * module's text on its way in.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

interface ResolveContext { readonly parentURL?: string }
interface Resolved { readonly url: string; readonly shortCircuit?: boolean }
type NextResolve = (specifier: string, context: ResolveContext) => Promise<Resolved>
interface Loaded { readonly format: string; readonly source?: unknown; readonly shortCircuit?: boolean }
type NextLoad = (url: string, context: unknown) => Promise<Loaded>

export interface Change {
  /** Ends of a module's path: `manager/run/up.js`. */
  readonly file: string
  readonly from: string
  readonly to: string
}

const standIns: readonly (readonly [specifier: RegExp, from: RegExp, to: string])[] = [
  [/^node:fs\/promises$/, /\/dist\/(?:agent\/|lib\/host\/(?:files|block-device)\.js)/, 'fs-promises.js'],
  [/\/lib\/host\/run\.js$/, /\/dist\/agent\//, 'host-run.js'],
  [/\/lib\/rpc\/client\.js$/, /\/dist\/(?:agent|manager)\//, 'rpc-client.js'],
  [/\/is-zero\.js$/, /\/dist\/agent\/storage\//, 'is-zero.js'],
  [/\/lib\/host\/reach\.js$/, /\/dist\/agent\//, 'reach.js'],
]

let changes: readonly Change[] = []

export async function initialize(data: { readonly changes: readonly Change[] }): Promise<void> {
  ({ changes } = data)
}

export async function resolve(specifier: string, context: ResolveContext, next: NextResolve): Promise<Resolved> {
  const found = standIns.find(([name, from]) => name.test(specifier) && from.test(context.parentURL ?? ''))
  return found ? { url: new URL(`./stand-ins/${found[2]}`, import.meta.url).href, shortCircuit: true } : next(specifier, context)
}

export async function load(url: string, context: unknown, next: NextLoad): Promise<Loaded> {
  const mine = changes.filter((change) => url.endsWith(`/dist/${change.file}`))
  if (mine.length === 0) return next(url, context)
  let source = await readFile(fileURLToPath(url), 'utf8')
  for (const { file, from, to } of mine) {
    if (source.split(from).length !== 2) throw new Error(`mutant: ${JSON.stringify(from)} does not stand once in ${file}`)
    source = source.replace(from, () => to)
  }
  return { format: 'module', source, shortCircuit: true }
}
