def add_cffm_config(cfg): pass
