/* As much of the C library as a policy needs, so that it imports nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 65536, ALIGN = 16 };

/* Where the linker says that free memory begins. */
extern unsigned char __heap_base;

/* Memory is handed out upwards, each piece behind its size; once all has been given back, which a
 * policy has after every call, it starts over. */
static uintptr_t top;
static size_t pieces;

void *malloc(size_t size)
{
    if (pieces == 0)
        top = ((uintptr_t)&__heap_base + ALIGN - 1) & -(uintptr_t)ALIGN;
    if (size > SIZE_MAX / 2)
        return NULL;
    uintptr_t piece = top + ALIGN;
    uintptr_t end = (piece + size + ALIGN - 1) & -(uintptr_t)ALIGN;
    size_t have = __builtin_wasm_memory_size(0) * PAGE;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + PAGE - 1) / PAGE) == SIZE_MAX)
        return NULL;
    *(size_t *)top = size;
    top = end;
    pieces++;
    return (void *)piece;
}

void *realloc(void *memory, size_t size)
{
    void *larger = malloc(size);
    if (memory && larger) {
        size_t had = *(size_t *)((uintptr_t)memory - ALIGN);
        memcpy(larger, memory, had < size ? had : size);
        free(memory);
    }
    return larger;
}

void free(void *memory)
{
    if (memory)
        pieces--;
}

_Noreturn void abort(void)
{
    __builtin_trap();
}

/* With bulk memory each of these three is one instruction. */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    return __builtin_memcpy(to, from, size);
}

void *memmove(void *to, const void *from, size_t size)
{
    return __builtin_memmove(to, from, size);
}

void *memset(void *to, int byte, size_t size)
{
    return __builtin_memset(to, byte, size);
}

int memcmp(const void *one, const void *other, size_t size)
{
    const unsigned char *a = one, *b = other;
    for (; size; size--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

int strcmp(const char *one, const char *other)
{
    for (; *one && *one == *other; one++, other++)
        ;
    return (unsigned char)*one - (unsigned char)*other;
}

char *strchr(const char *text, int byte)
{
    for (; *text != (char)byte; text++)
        if (!*text)
            return NULL;
    return (char *)text;
}
