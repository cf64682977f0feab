/** Names of files in the pages must be names of files: a page that speaks of what is gone misleads. Pure. */

export interface Page {
  readonly path: string
  readonly text: string
}

/** Every `room/file.ts` in backticks, and every linked page, must be there. */
export function checkPages(pages: readonly Page[], exists: (path: string) => boolean): readonly { readonly path: string; readonly line: number; readonly why: string }[] {
  return pages.flatMap(({ path, text }) => text.split('\n').flatMap((each, index) => {
    const names = [...each.matchAll(/`((?:lib|manager|agent|tools|test|bench)\/[\w./-]*)`/g), ...each.matchAll(/\]\(([\w./-]+\.md)\)/g)].map((match) => match[1] ?? '')
    return names.filter((name) => !exists(name)).map((name) => ({ path, line: index + 1, why: `names ${name}, which is not there` }))
  }))
}
