/**
 * Paging, the same for every list: at most `limit` rows (default and most 1000) in the order of their key; the next ones are those `after` the key
 * of the last row. A page that is not full is the last. Filters hold before rows are counted. Pure.
 */
import type { ApiName, ApiParams, ApiResult } from './methods.js'

export const PAGE_MAX = 1000

/** What to give as `after` for the rows behind this one. */
export const cursors = {
  hostList: (row: ApiResult<'hostList'>[number]) => row.name,
  diskList: (row: ApiResult<'diskList'>[number]) => `${row.host}:${row.device}`,
  volumeList: (row: ApiResult<'volumeList'>[number]) => row.name,
  segmentList: (row: ApiResult<'segmentList'>[number]) => `${row.volume}/${row.index}`,
  legList: (row: ApiResult<'legList'>[number]) => row.extent,
  jobList: (row: ApiResult<'jobList'>[number]) => row.id,
  tokenList: (row: ApiResult<'tokenList'>[number]) => row.name,
  userList: (row: ApiResult<'userList'>[number]) => row.name,
} as const satisfies { readonly [N in ApiName]?: (row: never) => ApiParams<N> extends { readonly after?: infer A } ? A : never }
export type PagedName = keyof typeof cursors

/** All rows of a list, page by page. */
export async function everyRow<N extends PagedName>(
  name: N, params: ApiParams<N>, ask: (params: ApiParams<N>) => Promise<ApiResult<N>>,
): Promise<ApiResult<N>> {
  const cursor = cursors[name] as (row: unknown) => string
  const rows: unknown[] = []
  for (let page = await ask(params); ; page = await ask({ ...params, after: cursor(rows.at(-1)) })) {
    rows.push(...page)
    if (page.length < PAGE_MAX) return rows as unknown as ApiResult<N>
  }
}
