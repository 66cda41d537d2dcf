// node read_with_zarrita.mjs GROUP PATH FIRST LAST
// Prints {"shape", "dtype", "values"} of rows FIRST … LAST-1 of one array, as zarrita (JavaScript) decodes them.
import { FileSystemStore } from "@zarrita/storage";
import * as zarr from "zarrita";

const [group, path, first, last] = process.argv.slice(2);
const root = zarr.root(new FileSystemStore(group));
const array = await zarr.open.v3(root.resolve(path), { kind: "array" });
const rest = array.shape.slice(1).map(() => null);
const { data, shape } = await zarr.get(array, [zarr.slice(Number(first), Number(last)), ...rest]);
const values = Array.from(data, Number);
console.log(JSON.stringify({ shape, dtype: array.dtype, values: values.map((v) => (Number.isNaN(v) ? null : v)) }));
