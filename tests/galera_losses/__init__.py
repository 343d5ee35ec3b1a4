"""Every loss a real Galera cluster can meet, foreseen first and then inflicted: are they alike?"""
