/** Our SQL has `?` for a value, as SQLite takes it; PostgreSQL wants `$1`, `$2`, … Pure. */

const known = new Map<string, string>()

/** Quoted texts, quoted names and comments keep their question marks. Texts are few and fixed in the source, so the map stays small. */
export function numbered(sql: string): string {
  const found = known.get(sql)
  if (found !== undefined) return found
  let count = 0
  const made = sql.replace(/'(?:[^']|'')*'|"[^"]*"|--[^\n]*|\/\*[\s\S]*?\*\/|\?/g, (part) => {
    if (part !== '?') return part
    count += 1
    return `$${count}`
  })
  known.set(sql, made)
  return made
}
