/* Reading what the gateway hands to `configure`. Made by `pulsegate policy new`. */
#ifndef CONFIGURE_H
#define CONFIGURE_H

#include "pulsegate.h"

/* Reads the class, the executors and the settings of JSON; what is wrong is handed back as a text
 * for the operator, NULL if nothing. */
const char *configure(config_t *config, const char *json, size_t length);

#endif
