/** Helpers for all SVG files. */

export const px = (value: number) => Number(value.toFixed(1));

export const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
