/** Reads the imports of a TypeScript source. Pure; a regular expression is enough for code that a linter keeps in one form. */
import { dirname, join } from 'node:path/posix'

export interface Source {
  /** Path from the top, with `/`. */
  readonly path: string
  readonly text: string
}

export interface Import {
  readonly line: number
  /** `node:fs`, a package, or the path of a source from the top. */
  readonly target: string
  readonly typeOnly: boolean
}

export function importsOf({ path, text }: Source): readonly Import[] {
  const found: Import[] = []
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm)) {
    const name = match[2] ?? match[3] ?? ''
    found.push({
      line: text.slice(0, match.index).split('\n').length, typeOnly: match[1] !== undefined,
      target: name.startsWith('.') ? join(dirname(path), name).replace(/\.js$/, '.ts') : name,
    })
  }
  return found
}
